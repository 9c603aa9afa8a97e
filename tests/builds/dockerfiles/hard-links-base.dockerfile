FROM base AS a
RUN mkdir /d && echo x > /d/a && ln /d/a /d/b
FROM a
RUN ln /d/a /d/c && chown 33 /d/b
RUN rm /d/a
