# options: --build-arg X=given
FROM base AS one
ONBUILD ARG X=default
ONBUILD RUN echo $X > /x
ONBUILD USER web
ONBUILD WORKDIR /srv/app
FROM one
RUN pwd > pwd; id -u >> pwd
