FROM base AS one
ARG A=1
ENV B=2
FROM one
RUN echo "$A $B" > /out
