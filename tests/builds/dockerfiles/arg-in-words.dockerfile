# options: --build-arg D=srv --build-arg F=a.txt --build-arg U=33
FROM base
ARG D F U M=640
COPY --chown=${U}:${U} --chmod=${M} ${F} /${D}/
WORKDIR /${D}/w
USER ${U}
EXPOSE ${U}
STOPSIGNAL ${U:-TERM}
VOLUME /${D}/v
