FROM base AS a
RUN mkdir /o && touch /o/f && chown -R 33:6 /o && chmod 750 /o
FROM base
COPY --from=a /o /same
COPY --from=a --chown=0:0 /o /root-s
COPY --from=a /o/f /one/two/f
