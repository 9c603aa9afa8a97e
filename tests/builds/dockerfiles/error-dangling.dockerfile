# fails
# prepare: ln -s nowhere dangling
FROM base
COPY dangling /x
