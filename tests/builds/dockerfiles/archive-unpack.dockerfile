FROM base
ADD --unpack=true archive.tar /a/
ADD --unpack=false archive.tar.gz a.txt /b/
ADD --unpack archive.tar.gz /c/
