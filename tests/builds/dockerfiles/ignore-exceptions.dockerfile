# ignore: *\n!dir\ndir/sub\n!dir/sub/deep.txt\n
FROM base
COPY . /ctx/
