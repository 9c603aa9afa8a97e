# fails
FROM base
SHELL /bin/sh -c
