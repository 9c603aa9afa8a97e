FROM base
ENV A=1 B=2
ENV C=$A$B D=$A_ E=${A}_ F=\${A} G=\\$A H='$A' I="$A" J=$ K=$$ L=$1 M="${A}${B}" N=x${A}y
LABEL l=$A "m n"=${B} o=${X:-"d e f"}
RUN env | grep -E '^[A-N]=' | sort > /o
