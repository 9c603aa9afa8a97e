# fails
FROM base
RNU true
