FROM base
RUN hostname > /h
