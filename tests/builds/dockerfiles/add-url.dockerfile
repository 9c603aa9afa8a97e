FROM base
ADD @URL@/a.txt /u/
ADD @URL@/a.txt /renamed
ADD --chmod=755 --chown=33:6 @URL@/b.txt /u/
ADD --checksum=sha256:87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7 @URL@/a.txt /u/checked
ADD @URL@/archive.tar /u/
ADD --unpack=true @URL@/archive.tar /u/un/
ADD @URL@/a.txt dir/one.txt @URL@/readme.md /many/
ADD @URL@/a.txt?x=y /q/
