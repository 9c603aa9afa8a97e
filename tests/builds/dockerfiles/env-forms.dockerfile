FROM base
ENV A one two  three
ENV B "quoted here" plain
ENV C='single $A' D="double $A" E=mix"ed q"'uotes' F=a\ b\"c
ENV G= H="" I=a=b
ENV J=$A K=${A}x L="$G$H"
ENV M=\$A N='\$A' O="\$A" P=\\ Q="\\"
RUN env | grep -E '^[A-Q]=' | sort > /out
