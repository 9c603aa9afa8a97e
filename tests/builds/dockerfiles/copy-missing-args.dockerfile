# fails
FROM base
COPY a.txt
