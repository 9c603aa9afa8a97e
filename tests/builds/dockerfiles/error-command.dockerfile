# fails
FROM base
RUN false
