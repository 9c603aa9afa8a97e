FROM base
LABEL a=1 b="two words"
LABEL a=3
LABEL "with.quotes"="x=y" multi="line \
continued"
LABEL old form
