FROM base
ARG A=1
ARG B
ENV X="a b" Y=c
RUN --mount=type=cache,target=/c --network=none echo "$A" > /x
RUN ["echo", "exec form", "$A"]
COPY --chown=33 --chmod=644 a.txt b.txt /d/
COPY --link a.txt /l
ADD archive.tar /ar/
WORKDIR /w
USER web
SHELL ["/bin/sh", "-e", "-c"]
HEALTHCHECK --interval=5s CMD check
VOLUME ["/v"]
EXPOSE 80
LABEL a=b
STOPSIGNAL INT
ENTRYPOINT ["/e", "x"]
CMD run it
