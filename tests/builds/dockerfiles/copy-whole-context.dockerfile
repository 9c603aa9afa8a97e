# ignore: Dockerfile\n.dockerignore\narchive*
FROM scratch
COPY . .
COPY ./ /two
COPY / /three
COPY ./dir/.. /four
COPY /dir/./sub// /five/
