# fails
FROM base
COPY --from=9 /x /
