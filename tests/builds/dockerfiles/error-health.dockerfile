# fails
FROM base
HEALTHCHECK --interval=1 CMD true
