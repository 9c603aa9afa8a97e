# fails
FROM base
ONBUILD FROM base
