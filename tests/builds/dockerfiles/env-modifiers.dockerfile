FROM base
ENV V=a.b.c.tar.gz E=
RUN echo nothing
ENV A=${V#*.} B=${V##*.} C=${V%.*} D=${V%%.*} F=${V/b/X} G=${V//./-} H=${E:-d} I=${E-d} J=${N:+y} K=${V:+y} L=${N-x}
ENV M='$V' N="\$V" O=\$V P="a'b" Q=$V$V R=${V}x
