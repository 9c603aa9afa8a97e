FROM scratch
ENV A=b
WORKDIR x
COPY dir .
