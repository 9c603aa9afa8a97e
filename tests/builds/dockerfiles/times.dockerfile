FROM base
RUN touch -d '2001-01-01 00:00:00' /old && touch /new
