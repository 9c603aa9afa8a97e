FROM base
ADD archive.tar /x/
ADD archive.tar.gz /y
ADD a.txt /z/
ADD --unpack=false archive.tar /w/
