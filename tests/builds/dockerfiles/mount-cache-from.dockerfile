FROM base AS other
RUN mkdir -p /o/d && echo other > /o/d/f && chown -R 33 /o
FROM base
RUN --mount=type=cache,id=cf1,from=other,source=/o,target=/c ls -ln /c/d > /dev/null; cat /c/d/f > /seen; echo more > /c/d/g
RUN --mount=type=cache,id=cf1,from=other,source=/o,target=/c ls /c/d > /ls
RUN --mount=type=cache,id=cf2,target=/k,ro touch /k/x 2> /dev/null || echo refused > /ro
