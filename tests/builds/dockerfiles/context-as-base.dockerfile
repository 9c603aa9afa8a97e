# options: --build-context files=dir
FROM files
COPY a.txt /a
ENV X=1
