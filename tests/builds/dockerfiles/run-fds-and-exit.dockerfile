FROM base
RUN echo to-stderr >&2; ls /proc/self/fd | wc -l > /fds
RUN test -t 0 && echo tty > /tty || echo none > /tty
RUN (exit 3) || echo "three $?" > /exit
RUN cat > /stdin; echo end >> /stdin
