FROM base AS a
RUN echo a > /a
FROM base AS b
RUN echo b > /b
FROM base
RUN --mount=from=a,target=/a --mount=from=b,target=/b --mount=target=/c --mount=type=cache,target=/d,id=ms cat /a/a /b/b /c/a.txt > /out
RUN --mount=from=a,source=/a,target=/x/y/z/f cat /x/y/z/f > /f
