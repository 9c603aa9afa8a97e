# prepare: mkdir 'ä ö' && echo 1 > 'ä ö/日本.txt'
FROM scratch
COPY ["ä ö", "/ü/"]
COPY ä*/日*.txt /z/
ENV Ü=ö
LABEL ключ=значение
