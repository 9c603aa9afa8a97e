FROM base
RUN mkdir /o && touch /o/1 /o/2
RUN rm -rf /o && mkdir /o && touch /o/3
RUN touch /o/4
