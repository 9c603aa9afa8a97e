FROM base
ADD --keep-git-dir=true a.txt /x
