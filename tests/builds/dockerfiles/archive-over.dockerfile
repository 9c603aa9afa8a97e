# prepare: mkdir -p t/way t/sub t/dir && echo x > t/way/f && echo y > t/file && echo z > t/dir/new && ln -s elsewhere t/link && tar cf over.tar -C t way sub dir file link && rm -r t
FROM base
RUN mkdir -p /x/real /x/dir /x/link && touch /x/real/old /x/dir/old /x/sub && ln -s real /x/way && ln -s dir/old /x/file
ADD over.tar /x/
