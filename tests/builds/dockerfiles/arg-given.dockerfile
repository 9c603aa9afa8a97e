# options: --build-arg WITH=given --build-arg PLAIN=p --build-arg UNDECLARED=u
FROM base
ARG PLAIN
ARG WITH=default
RUN echo "$PLAIN|$WITH|$UNDECLARED" > /args
LABEL with=$WITH plain=$PLAIN none=$UNDECLARED
