# prepare: ln -s dir to-dir; ln -s a.txt to-file; ln -s /etc/passwd absolute; ln -s nowhere dangling; mkdir l; ln -s ../a.txt l/up; ln -s dangling l/dangling
FROM base
COPY to-dir /1
COPY to-file /2
COPY to-dir/one.txt /3
COPY l /4
COPY to-dir to-file /5/
COPY to-d* /6/
