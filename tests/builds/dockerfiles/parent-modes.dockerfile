FROM base
RUN mkdir -m 700 /p && chown 33:6 /p
COPY a.txt /p/
COPY dir /p/new/
WORKDIR /p/w
RUN touch /p/x
