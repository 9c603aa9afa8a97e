# fails
FROM base
ADD @URL@/not-there /
