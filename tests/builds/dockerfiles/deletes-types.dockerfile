FROM base
RUN mkdir -p /a/x /b /c && touch /a/x/f /b/f /c/f /d /e && ln -s c /l && ln -s nowhere /m
RUN rm -r /a && echo file > /a && rm -r /b && ln -s c /b && rm /d && mkdir /d && touch /d/in && rm /l && mkdir /l && touch /l/in && rm /m && mkfifo /m
RUN rm /a && mkdir -p /a/x && touch /a/x/g && rm /b && mkdir /b && rm -r /d && ln -s e /d && rm -r /l && touch /l && rm /m && mkdir /m
