FROM base
COPY a.txt /
COPY a.txt b.txt /d/
COPY a.txt /renamed
COPY ["a.txt", "/json form/"]
COPY . /all/
