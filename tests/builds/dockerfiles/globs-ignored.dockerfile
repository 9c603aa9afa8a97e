# ignore: a.txt\n
FROM base
COPY *.txt /g/
