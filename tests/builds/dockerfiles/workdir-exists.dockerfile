FROM base
WORKDIR /etc
WORKDIR /bin
RUN pwd > /tmp/pwd
