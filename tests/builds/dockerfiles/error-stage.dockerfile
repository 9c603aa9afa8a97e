# fails
FROM base AS early
COPY --from=later /x /
FROM base AS later
FROM early
