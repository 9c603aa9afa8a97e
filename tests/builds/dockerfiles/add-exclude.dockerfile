FROM base
ADD --exclude=*.md --exclude=sub dir /x/
ADD --exclude=archive.tar.gz *.tar* /y/
