FROM base
RUN mkdir /x && touch /x/kept && echo old > /f
COPY --link a.txt /f
COPY --link a.txt b.txt /x/
