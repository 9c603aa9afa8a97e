FROM base
RUN mkdir -p /have/in && chown 7:8 /have && chmod 711 /have && echo f > /have/f && chmod 600 /have/f
COPY --chown=33:33 dir /have/
COPY --chown=33 a.txt /have/new/deep/
COPY --chown=33 --chmod=0640 b.txt /have/f
COPY --chmod=u=rwX,go= dir2 /have/in
