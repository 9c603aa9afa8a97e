# fails
FROM base
ENV =x
