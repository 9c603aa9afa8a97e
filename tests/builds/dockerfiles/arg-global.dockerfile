# options: --build-arg G2=g
ARG G1=one
ARG G2=two
ARG G3=${G1}-x
FROM base
ARG G1
ARG G2
ARG G3=own
RUN echo "$G1 $G2 $G3" > /args
