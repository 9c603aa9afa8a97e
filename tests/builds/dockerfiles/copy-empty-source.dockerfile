# options: --build-arg S=
# fails
FROM base
ARG S
COPY "$S" /x
