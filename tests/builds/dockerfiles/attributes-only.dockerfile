FROM base
RUN mkdir /d && touch /d/f /f
RUN chmod 600 /f && chown 33 /d
RUN touch -d '2001-01-01 00:00:00' /f
RUN chmod 644 /f && chmod 600 /f
