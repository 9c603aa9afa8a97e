ARG P=linux/amd64
FROM --platform=$P base AS a
ARG TARGETPLATFORM
RUN echo $TARGETPLATFORM > /p
FROM --platform=${TARGETPLATFORM} base
COPY --from=a /p /
