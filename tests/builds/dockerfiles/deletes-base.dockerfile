FROM base
RUN rm /etc/group && mkdir /etc/group && touch /etc/group/x; rm -rf /tmp /home
RUN mv /usr /usr.moved && mkdir /usr && cp -r /usr.moved/share /usr/
RUN rm -r /usr.moved
