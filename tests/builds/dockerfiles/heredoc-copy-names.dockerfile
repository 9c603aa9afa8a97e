FROM base
ARG WHO=me
COPY <<a.conf <<b.conf a.txt /etc/app/
who=$WHO
path=${WHO:-x}
a.conf
b
b.conf
COPY <<"EOF" /plain
$WHO \n \t "q"
EOF
COPY <<-EOF /tabs
	one
		two
	EOF
COPY --chmod=755 --chown=33 <<run /usr/local/bin/run
#!/bin/sh
echo $WHO \$WHO
run
ADD <<EOF /added/
x
EOF
