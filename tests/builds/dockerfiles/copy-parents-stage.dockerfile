FROM base AS a
RUN mkdir -p -m 700 /x/y/z && echo f > /x/y/z/f && echo g > /x/g && chown -R 33:6 /x/y
FROM base
COPY --parents --from=a /x/y/z/f /p/
COPY --parents --from=a /x/./y /q/
