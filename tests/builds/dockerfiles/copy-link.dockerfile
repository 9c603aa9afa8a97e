FROM base
COPY --link a.txt /l/a
COPY --link --chown=1:2 dir /l/dir/
