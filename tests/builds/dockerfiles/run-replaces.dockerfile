FROM base
RUN mkdir /x && touch /x/y && touch /f
RUN rm -r /x && touch /x && rm /f && mkdir /f
RUN rm /x && ln -s f /x
