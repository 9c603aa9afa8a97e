# fails
FROM base
ONBUILD ONBUILD RUN true
