FROM base AS a
RUN mkdir /s && mkfifo /s/pipe && touch /s/suid && chmod 6755 /s/suid && mkdir -m 3777 /s/sticky && truncate -s 100000 /s/sparse 2> /dev/null || dd if=/dev/zero of=/s/sparse bs=1 count=1 seek=99999 2> /dev/null
FROM base
COPY --from=a /s /s
COPY --from=a --chown=33:6 /s/suid /t
