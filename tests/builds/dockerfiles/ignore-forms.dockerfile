# ignore: /a.txt\n./b.txt\ndir/../readme.md\n!a.txt.not\n.dockerignore\nDockerfile\ndir2/\n
FROM base
COPY . /ctx/
COPY dir /d/
