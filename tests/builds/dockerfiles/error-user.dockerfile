# fails
FROM base
USER nobody-there
RUN true
