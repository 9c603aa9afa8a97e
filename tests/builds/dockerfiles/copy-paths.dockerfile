FROM base
COPY /a.txt ./b.txt /1/
COPY dir/. /2
COPY ./dir /3/
COPY dir/../a.txt /4
COPY ../../a.txt /5
COPY //dir//sub /6/
COPY dir/sub/../one.txt dir/two /7/
COPY . .
