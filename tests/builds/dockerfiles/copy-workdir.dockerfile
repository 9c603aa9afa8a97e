FROM base
WORKDIR /w
COPY a.txt .
COPY a.txt sub/
COPY b.txt ./renamed
COPY dir ./
