# options: --build-arg SOURCE_DATE_EPOCH=1000000000
FROM base
ARG SOURCE_DATE_EPOCH
RUN echo ${SOURCE_DATE_EPOCH:-none} > /e
COPY a.txt /
