FROM base AS a
RUN mkdir -p /o/d && echo x > /o/d/f && chown 33:6 /o/d && chmod 700 /o/d
FROM base
COPY --link --from=a /o /p
COPY --link --from=a --chmod=u=rwX,go= /o/d /q/
ADD --link archive.tar /ar/
