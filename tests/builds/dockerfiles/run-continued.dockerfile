FROM base
RUN echo a \
  && echo b \
  > /c
RUN echo end; \
  echo \
  x > /x
