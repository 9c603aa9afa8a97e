FROM base
RUN mkdir /w && chown 33 /w
USER web
RUN id -u > /w/uid; echo $HOME > /w/home; pwd > /w/pwd
USER 1000:1000
WORKDIR /w
USER root
RUN id -u > /root-uid
