FROM base
COPY *.txt /g/
COPY d?r /q/
COPY [ab].txt /c/
COPY dir/* /flat/
COPY **/*.txt /deep/
