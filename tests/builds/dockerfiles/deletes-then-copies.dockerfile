FROM base
RUN mkdir -p /dir/sub && touch /dir/sub/old /dir/one.txt /dir/gone
RUN rm -r /dir
COPY dir /dir
RUN rm /dir/one.txt /dir/sub/deep.txt
COPY dir/one.txt /dir/
