FROM base
HEALTHCHECK CMD ["true", "a b"]
