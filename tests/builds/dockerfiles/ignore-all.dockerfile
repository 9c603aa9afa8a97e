# ignore: **\n!dir/**/*.txt\n
FROM base
COPY . /ctx/
