# fails
FROM base
COPY ../outside /x
