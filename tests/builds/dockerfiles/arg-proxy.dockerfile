# options: --build-arg HTTP_PROXY=http://p:1
FROM base
RUN echo "$HTTP_PROXY" > /proxy
