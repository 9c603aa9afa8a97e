# fails
FROM base
COPY --chown=who:knows a.txt /
