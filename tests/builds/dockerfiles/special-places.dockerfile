FROM base
RUN echo x > /dev/shm/x; mkdir -p /run/x /var/run && touch /run/x/y /var/run/z; echo y > /proc/self/comm
RUN touch /tmp/t && mkdir -p /var/tmp && touch /var/tmp/u; ls /sys > /dev/null
RUN rm -rf /tmp/* /run/*
RUN ls -a / > /ls
