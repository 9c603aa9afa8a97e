FROM base
LABEL "a b"="c d" e='f $PATH' g="h\"i" j=k\ l
LABEL m.n/o-p=q r="line\
two" s=""
LABEL t=1 \
      u=2 \
      v="3"
LABEL w=$UNSET x='' y="a=b"
LABEL a=first
LABEL a=second
