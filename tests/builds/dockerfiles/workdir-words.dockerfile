FROM base
ENV A=/x B=y
WORKDIR ${A}/$B
WORKDIR rel/../other
WORKDIR "with space"
RUN pwd > /pwd
WORKDIR /slash//double/
WORKDIR .
COPY a.txt .
WORKDIR $UNSET/z
RUN pwd >> /pwd
