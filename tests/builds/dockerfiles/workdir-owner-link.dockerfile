FROM base
RUN mkdir -p /t/real && chown 33:33 /t/real && ln -s real /t/link
USER web
WORKDIR /t/link
RUN touch f && pwd > f
WORKDIR /t/link/sub
USER root
WORKDIR /new/deep
COPY a.txt ./
