FROM base
VOLUME /data
VOLUME ["/one", "/two words"]
VOLUME /a /b
RUN mkdir -p /data && touch /data/kept
