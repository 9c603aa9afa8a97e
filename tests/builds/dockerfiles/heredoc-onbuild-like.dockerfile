FROM base AS a
ONBUILD RUN echo trig > /trig
ONBUILD COPY a.txt /ob/
ONBUILD ENV OB=1
ONBUILD WORKDIR /obw
FROM a AS b
RUN echo "$OB $PWD" > /o
FROM b
RUN ls / > /ls; echo "$OB" > /ob2
