FROM base
RUN mkdir -p /o/dir && echo old > /o/a.txt && ln -s dir /o/link
COPY a.txt /o/
COPY a.txt /o/link/
COPY a.txt /o/link/b
COPY dir /o/link
