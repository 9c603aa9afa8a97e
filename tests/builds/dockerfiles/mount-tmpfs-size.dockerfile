FROM base
RUN --mount=type=tmpfs,target=/t,size=1m dd if=/dev/zero of=/t/x bs=1024 count=2000 2> /dev/null || echo full > /out
RUN --mount=type=tmpfs,dst=/tmp touch /tmp/x
