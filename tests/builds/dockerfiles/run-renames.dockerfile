FROM base
RUN mkdir -p /big/sub && echo 1 > /big/one && echo 2 > /big/sub/two
RUN mv /big /moved
RUN mv /moved/sub /sub && mv /moved/one /moved/uno
