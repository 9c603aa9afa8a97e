FROM base
RUN echo old > /old && ln -s old /new && ln -s /gone /dangling
COPY a.txt /new
COPY a.txt /dangling
