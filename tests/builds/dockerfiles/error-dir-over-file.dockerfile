# fails
FROM base
COPY dir /etc/passwd
