# options: --build-arg S=
FROM base
ARG S
COPY "$S" /x
