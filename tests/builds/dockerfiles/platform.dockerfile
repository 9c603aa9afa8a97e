# options: --platform linux/arm64
FROM --platform=$BUILDPLATFORM base AS tools
ARG TARGETARCH
RUN echo $TARGETARCH > /arch
FROM scratch
COPY --from=tools /arch /
