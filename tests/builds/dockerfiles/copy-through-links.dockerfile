FROM base
RUN mkdir /real && ln -s /real /way && ln -s ../../../../real /up
COPY a.txt /way/
COPY b.txt /up/
COPY dir /way/dir
