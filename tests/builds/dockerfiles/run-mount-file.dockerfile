FROM base
WORKDIR /w
RUN --mount=type=bind,source=a.txt,target=b.txt cat b.txt > c.txt
