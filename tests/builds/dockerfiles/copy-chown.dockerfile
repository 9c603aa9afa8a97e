FROM base
COPY --chown=web a.txt /1
COPY --chown=33:disk dir /2
COPY --chown=web:web --chmod=640 a.txt /3
COPY --chmod=u=rwX,go=rX dir /4
COPY --chmod=755 a.txt b.txt /5/
