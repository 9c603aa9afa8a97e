# fails
FROM base
COPY --unknown a.txt /
