# fails
FROM base
LABEL alone
