FROM base
COPY a.txt /x
COPY a.txt /x
COPY b.txt /x
COPY a.txt a.txt /y/
COPY dir dir /z/
