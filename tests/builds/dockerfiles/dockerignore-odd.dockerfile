# ignore: # comment\n\n  dir2  \n/a.txt\n./b.txt\ndir/\n!dir/sub\n*.md\n!readme.md\n**/two
FROM scratch
COPY . /
