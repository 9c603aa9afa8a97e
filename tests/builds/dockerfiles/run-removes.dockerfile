FROM base
RUN mkdir -p /d/e && touch /d/f /d/e/g /h
RUN rm /d/f && rm -r /d/e
RUN rm -r /d && mkdir /d && touch /d/new
RUN mv /h /i
