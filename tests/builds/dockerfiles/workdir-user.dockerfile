FROM base
USER web
WORKDIR /home/new/deep
