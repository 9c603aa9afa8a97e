FROM base
RUN mkdir -p /v/sub && echo 1 > /v/1
VOLUME /v
RUN echo 2 > /v/2 && rm /v/1
COPY a.txt /v/
VOLUME ["/v", "/w x", "/y"]
VOLUME /v/sub /z
RUN ls /v > /ls
