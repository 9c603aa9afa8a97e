# options: --build-arg a.b=1 --build-arg _x=2 --build-arg UP=3
FROM base
ARG _x
ARG up
ARG UP lower=l Q="q q" R='r $UP' S=\$UP T=${UP}4
RUN env | grep -E '^(_x|up|UP|lower|Q|R|S|T)=' | sort > /o
