# fails
FROM scratch
COPY a.txt /
RUN echo no
