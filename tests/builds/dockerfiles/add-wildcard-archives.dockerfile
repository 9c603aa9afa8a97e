# prepare: cp archive.tar z1.tar; cp archive.tar.gz z2.tgz; echo no > z3.tar; : > z4.tar
FROM base
ADD z*.t* /all/
ADD z3.tar /n
ADD z4.tar /e
ADD archive.tar archive.tar.gz /both/
