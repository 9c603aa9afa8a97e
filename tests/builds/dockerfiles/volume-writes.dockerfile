FROM base
VOLUME /data
RUN mkdir -p /data && echo 1 > /data/run
COPY a.txt /data/
RUN echo 2 >> /data/run && rm /data/a.txt
VOLUME ["/data/deep"]
RUN mkdir -p /data/deep && touch /data/deep/x
