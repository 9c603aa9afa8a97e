ARG TAG=latest
FROM base:${TAG}
ARG PLAIN
ARG WITH=default
ARG REF=$WITH-x
RUN echo "$PLAIN|$WITH|$REF|$TAG" > /args
