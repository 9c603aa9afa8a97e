FROM base
ADD @URL@/a.txt /to/
ADD @URL@/a.txt /named
ADD @URL@/dir/one.txt?x=1 /q/
ADD @URL@/archive.tar /kept/
