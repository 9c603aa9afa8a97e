# options: --build-arg IMAGE=base
ARG IMAGE="none"
ARG TAG='latest'
ARG FULL="${IMAGE}:${TAG}"
ARG EMPTY=
FROM ${FULL}
ARG FULL
ARG EMPTY=default
ARG TAG=other
RUN echo "$FULL|$EMPTY|$TAG|${IMAGE-unset}" > /o
