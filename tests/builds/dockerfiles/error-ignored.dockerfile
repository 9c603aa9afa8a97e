# fails
# ignore: a.txt\n
FROM base
COPY a.txt /
