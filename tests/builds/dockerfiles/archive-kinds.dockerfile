# prepare: mkdir t && echo x > t/f && tar cf plain t && bzip2 -k -c plain > b && xz -c plain > x && zstd -q -c plain > z && gzip -c a.txt > not-a-tar.gz && cp a.txt fake.tar && tar cf empty.tar -T /dev/null && : > zero.tar
FROM base
ADD plain /plain/
ADD b /b/
ADD x /x/
ADD z /z/
ADD not-a-tar.gz fake.tar /n/
ADD empty.tar /e/
ADD zero.tar /0/
ADD fake.tar /direct
