FROM base
RUN cat /etc/hosts > /tmp/h; echo own > /etc/motd
RUN touch /etc/resolv.conf2; ls /etc > /ls
