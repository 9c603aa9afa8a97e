FROM base
RUN mkdir -m 1777 /o
USER 1234
RUN id > /o/1; echo $HOME > /o/1h; touch /o/t1
USER 1234:5678
RUN id > /o/2
USER web:disk
RUN id > /o/3
USER 33
RUN id > /o/4; echo $HOME > /o/4h
USER web:77
RUN id > /o/5
USER :6
RUN id > /o/6 || true
