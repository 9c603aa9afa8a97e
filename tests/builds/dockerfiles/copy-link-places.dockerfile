FROM base
RUN mkdir /real && ln -s /real /way && touch /real/old
COPY --link a.txt /way/
COPY --link b.txt /real/new/deep/
COPY --link dir /etc/dir
