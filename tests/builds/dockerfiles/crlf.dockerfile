# prepare: sed -i 's/$/\r/' Dockerfile
FROM base
ENV A=1 \
  B=2
RUN echo a > /a && \
  echo b > /b
COPY a.txt dir/two /d/
