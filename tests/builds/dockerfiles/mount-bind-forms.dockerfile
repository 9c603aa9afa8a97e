FROM base AS src
RUN mkdir -p /s/d && echo in > /s/d/f
FROM base
RUN --mount=type=bind,target=/ctx ls /ctx > /1
RUN --mount=target=/m,from=src,source=/s cat /m/d/f > /2
RUN --mount=type=bind,from=src,src=s/d,dst=/m,rw echo w > /m/w && ls /m > /3
RUN --mount=type=bind,from=src,source=/s/d/f,target=/file cat /file > /4
WORKDIR /wd
RUN --mount=target=rel,from=src,source=s ls /wd/rel > /5
RUN --mount=type=bind,source=dir,target=/m,readonly ! touch /m/x
RUN ls /m /ctx /file 2>&1 | sort > /6
