# prepare: mkdir -p g/one g/two/in g/t[r] && echo 1 > g/one/1 && echo 2 > g/two/in/2 && echo 3 > g/t[r]/3 && echo 4 > 'g/*' && ln -s one g/toone
FROM base
COPY g/* /all/
COPY g/t* /t/
COPY g/o?e /o/
COPY g/t[[]r] /br/
COPY g/t\[r\] /br2/
COPY g/[a-s]* /range/
COPY g/*/in /in/
COPY g/to* /link/
