# fails
FROM base
COPY nothing-here /x
