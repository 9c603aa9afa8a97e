# prepare: python3 -c "import os; os.setxattr('a.txt','user.one',b'1'); os.setxattr('dir','user.two',b'2\x00')"
FROM base
COPY a.txt dir /x/
COPY --chmod=600 a.txt /y
