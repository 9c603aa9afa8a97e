FROM base AS other
RUN mkdir /o && echo other > /o/f
FROM base
RUN --mount=type=bind,from=other,source=/o,target=/mnt/x cp /mnt/x/f /f
RUN --mount=target=/ctx cat /ctx/a.txt > /a
RUN --mount=type=bind,source=dir,target=/dir,rw touch /dir/new && ls /dir > /ls
RUN --mount=from=other,target=/all ls /all/o > /all-ls
