# fails
FROM base
WORKDIR /etc/passwd
