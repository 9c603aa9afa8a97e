FROM base
ENV D=/one E=two
WORKDIR $D
WORKDIR ${E}/three
WORKDIR ../..//four/
RUN pwd > /p1
WORKDIR "/sp ace"
RUN pwd > /p2
WORKDIR /a/./b/../c
RUN pwd > /p3
WORKDIR /
WORKDIR rel
COPY a.txt .
