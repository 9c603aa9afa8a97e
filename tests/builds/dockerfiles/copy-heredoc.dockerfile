FROM base
ENV N=v
COPY <<EOF /h/plain
value $N
EOF
COPY <<"EOF" /h/quoted
value $N
EOF
COPY <<one <<two a.txt /h/many/
1
one
2
two
COPY --chmod=755 <<-EOF /h/tabs
	#!/bin/sh
	EOF
