FROM base
ENV A1=1 A2=2 A3=3 A4=4 A5=5 A6=6 A7=7 A8=8 A9=9 \
    B1=${A1}1 B2=${A2}2 \
    # between
    B3=3

ENV LAST=end
