FROM base
RUN mkdir -p /o/p/q && touch /o/1 /o/p/2 /o/p/q/3
RUN rm -r /o/p && mkdir -p /o/p/q && touch /o/p/q/4
RUN rm -r /o && mkdir -p /o/p && touch /o/p/5
RUN mv /o /moved && mkdir /o && mv /moved/p /o/r
