FROM base
LABEL a=1 a=2 "b c"="d e" f= g='' h="multi \
line" i=$NONE j=${NONE:-x}
LABEL k old form with words
LABEL "com.example.k"=v com.example.k2="v w"
LABEL a=3
