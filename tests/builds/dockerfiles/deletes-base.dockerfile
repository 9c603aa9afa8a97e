FROM base
RUN rm -rf /tmp /home && mkdir /home && touch /home/x
RUN mv /usr /usr.moved && mkdir -p /usr/share && touch /usr/share/new
RUN rm -r /usr.moved
