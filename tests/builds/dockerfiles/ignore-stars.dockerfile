# ignore: **/*.txt\n!**/deep.txt\n*.tar*\n\n# comment\n  dir2/  \n
FROM base
COPY . /ctx/
