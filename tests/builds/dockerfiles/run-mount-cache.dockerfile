FROM base
RUN --mount=type=cache,target=/var/cache/x echo hit >> /var/cache/x/f
RUN --mount=type=cache,target=/var/cache/x wc -l < /var/cache/x/f > /lines
RUN --mount=type=cache,id=other,target=/c,mode=0700,uid=33 stat -c '%a %u' /c > /stat
