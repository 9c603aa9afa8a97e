# options: --build-arg A=arg --build-arg PATH=/bin:/x
FROM base
ENV A=env B=env
ARG A
ARG B=argdefault
ARG PATH
RUN echo "$A $B $PATH" > /o
ENV A=${A:-none}
RUN echo "$A" > /p
