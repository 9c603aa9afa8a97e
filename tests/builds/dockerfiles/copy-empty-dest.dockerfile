# options: --build-arg D=
FROM base
WORKDIR /w
ARG D
COPY a.txt $D/
COPY dir "$D./"
COPY b.txt ./$D
