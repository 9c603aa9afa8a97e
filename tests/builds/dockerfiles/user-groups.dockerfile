FROM base
RUN echo 'more:x:70:web' >> /etc/group && mkdir -m 1777 /o
USER web
RUN id > /o/id; grep Groups /proc/self/status > /o/groups
USER web:web
RUN id > /o/id2
