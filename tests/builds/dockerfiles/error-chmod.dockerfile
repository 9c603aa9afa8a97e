# fails
FROM base
COPY --chmod=rwxr a.txt /
