# options: --target 1
# fails
FROM base
RUN echo 0 > /0
FROM base
RUN echo 1 > /1
FROM base
RUN exit 1
