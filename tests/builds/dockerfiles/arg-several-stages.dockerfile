# options: --build-arg A=x
ARG A=1
ARG B=2
FROM base AS one
ARG A
RUN echo "$A" > /one
FROM one AS two
RUN echo "$A" > /two
ARG B=$A-b
RUN echo "$B" >> /two
FROM two
ARG B
RUN echo "$A$B" > /three
