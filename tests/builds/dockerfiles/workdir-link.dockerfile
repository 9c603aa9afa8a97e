FROM base
RUN mkdir /real && ln -s /real /way && ln -s nowhere /broken
WORKDIR /way/in
COPY a.txt .
RUN pwd > /pwd
