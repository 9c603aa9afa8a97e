FROM base AS a
RUN mkdir -p /r/d && echo x > /r/d/f && ln -s d /r/l && ln -s /r/d/f /r/abs && ln -s ../../../r/d /r/up && ln -s gone /r/dangling
FROM base
COPY --from=a /r /r
COPY --from=a /r/l /1
COPY --from=a /r/abs /2
COPY --from=a /r/up/f /3
COPY --from=a /r/l/ /4/
