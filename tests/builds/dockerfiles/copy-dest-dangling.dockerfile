# prepare: mkdir -p tree/sub && echo x > tree/sub/x && ln -s missing tree/dang
FROM base
RUN ln -s /nowhere/deep /link && ln -s /made /link2 && mkdir /made
COPY a.txt /link2/
COPY tree /link2/tree
COPY tree/sub /link2
RUN ln -s rel /made/l && mkdir /made/rel
COPY b.txt /made/l/
