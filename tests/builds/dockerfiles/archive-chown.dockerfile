FROM base
ADD --chown=web:disk archive.tar /1/
ADD --chown=5:6 --chmod=700 archive.tar.gz /2/
ADD --chown=web dir archive.tar /3/
