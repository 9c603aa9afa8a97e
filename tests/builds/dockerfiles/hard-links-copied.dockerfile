FROM base AS a
RUN mkdir /l && echo x > /l/1 && ln /l/1 /l/2 && chown 33 /l/1
FROM base
COPY --from=a /l /l
COPY --from=a /l/2 /only
