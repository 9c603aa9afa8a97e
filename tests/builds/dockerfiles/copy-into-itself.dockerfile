FROM base AS a
COPY dir /d
RUN mkdir -p /d/d && ln -s . /d/self
FROM a
COPY --from=a /d /d/d
COPY --from=a /d/self/ /viaself/
COPY --from=a /d/self /viaself2
