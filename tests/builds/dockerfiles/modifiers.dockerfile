FROM base
ENV P=/usr/local/lib/libx.so.1.2 E="" S="a b a b"
ENV A=${P##*/} B=${P%/*} C=${P%.*} D=${P#*/usr} F=${S/a/X} G=${S//a/X} H=${S//[ab]/-} I=${P%%.*} J=${E:-${P##*.}} K=${S#a*} L=${S##a*} M=${P/lib\//} N=${S//?/x}
ENV O=${E:+x}${P:+y} Q=${UNSET:-'quoted $P'} T=${P//\//_}
LABEL x=${P##*/} "${S/b/c}"=y
