FROM base AS one
ONBUILD ENV A=1
ONBUILD COPY a.txt /onbuild/
ONBUILD RUN echo $A > /a
FROM one AS two
ONBUILD LABEL l=2
RUN cat /a > /b
FROM two
RUN ls /onbuild > /ls
