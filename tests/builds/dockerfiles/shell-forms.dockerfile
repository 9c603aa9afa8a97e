FROM base
SHELL ["/bin/sh", "-xc"]
RUN echo x > /x
CMD echo $A
HEALTHCHECK CMD check it
SHELL ["/bin/env", "A=b", "/bin/sh", "-c"]
RUN echo $A > /a
ENTRYPOINT start
ONBUILD RUN late
