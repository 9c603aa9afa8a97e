# ignore: *\n!dir\ndir/sub\n!dir/sub/deep.txt\ndir/*.md
FROM scratch
COPY . /1/
COPY dir /2/
