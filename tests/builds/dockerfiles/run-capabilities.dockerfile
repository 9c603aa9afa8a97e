FROM base
RUN grep -E '^(CapEff|CapBnd|NoNewPrivs):' /proc/self/status > /caps
RUN mknod /dev-x c 1 3 2> /dev/null && echo made > /mknod || echo refused > /mknod
RUN chown 12345:54321 /mknod
