# prepare: mkdir only && echo o > only/one
FROM base
COPY only/* /single
COPY only/o* /dir/
COPY only/*ne* /dir/renamed
