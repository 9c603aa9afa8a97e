FROM base
RUN mkdir -p /a/b/c/d/e/f/g/h/i/j && touch /a/b/c/d/e/f/g/h/i/j/k
RUN rm -r /a/b/c/d/e
COPY dir /a/b/c/d/e
