FROM base
SHELL ["/bin/sh", "-eu", "-c"]
RUN echo "$-" > /flags
CMD echo hi
ENTRYPOINT run it
SHELL ["/bin/other"]
