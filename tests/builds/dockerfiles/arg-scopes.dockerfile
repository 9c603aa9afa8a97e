# options: --build-arg A=given
ARG A=one
ARG B=two
ARG C
FROM base AS first
RUN echo "$A|$B|$C" > /first
ARG B
RUN echo "$A|$B|$C" > /second
ARG B=own
RUN echo "$A|$B|$C" > /third
FROM base
ARG A
ARG C=late
COPY --from=first /first /second /third /
RUN echo "$A|$B|$C" > /fourth
