FROM base
SHELL ["/bin/sh", "-exc"]
RUN echo 1 > /1
CMD echo cmd
ENTRYPOINT echo entry
SHELL ["/bin/busybox", "sh", "-c"]
RUN echo "$0" > /2
CMD echo other
