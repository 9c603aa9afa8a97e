# ignore: ?.txt\ndir/[a-n]*\n*/sub/*\n!dir/link\n
FROM base
COPY . /ctx/
