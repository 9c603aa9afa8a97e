# a comment
FROM base
# another
RUN echo x > /x # not a comment
  # indented
LABEL a="#b" c=#d
