FROM base
RUN mkdir -m 777 /o
USER 2147483646
RUN id -u > /o/1
USER 0:33
RUN id > /o/2
USER web:0
RUN id > /o/3 
USER root:root
RUN id > /o/4
USER ${NONE:-33}:${NONE:-6}
RUN id > /o/5
