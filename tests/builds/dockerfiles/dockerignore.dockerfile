# ignore: *.txt\n!b.txt\ndir/sub\n**/*.md
FROM base
COPY . /ctx/
