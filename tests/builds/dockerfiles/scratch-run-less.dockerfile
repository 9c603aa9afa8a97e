FROM scratch
WORKDIR /w
COPY dir/two .
USER 5:6
COPY --chown=7:8 a.txt sub/
VOLUME /v
