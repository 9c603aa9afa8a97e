FROM base
RUN echo 'new:x:500:501:New:/home/new:/bin/sh' >> /etc/passwd && echo 'new:x:501:' >> /etc/group && mkdir -p /home/new && chown 500:501 /home/new
USER new
WORKDIR /home/new/w
RUN echo $HOME > home; id -un >> home
COPY --chown=new:new a.txt b/
COPY c* ./
COPY a.txt own
