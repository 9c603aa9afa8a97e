FROM base
ENV Ü=ä
LABEL "ключ"="значение"
RUN echo 'ünï' > '/fïle'
COPY a.txt /ümlaut/
