FROM base
RUN --mount=type=bind,source=dir,target=/d,readwrite echo changed > /d/one.txt && cat /d/one.txt > /seen && rm /d/two
RUN --mount=type=bind,source=dir,target=/d cat /d/one.txt /d/two > /again; touch /d/x 2> /dev/null || echo refused >> /again
COPY dir /copied
