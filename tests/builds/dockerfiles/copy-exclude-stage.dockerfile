FROM base AS a
RUN mkdir -p /x/y/z /x/empty && touch /x/a.o /x/a.c /x/y/b.o /x/y/z/c.o /x/y/z/c.c
FROM base
COPY --from=a --exclude=*.o /x /one
COPY --from=a --exclude=**/*.o /x /two
COPY --from=a --exclude=y --exclude=empty/ /x /three
COPY --from=a --exclude=y/* --exclude=!y/z /x /four
