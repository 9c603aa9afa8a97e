FROM base
RUN ln -s /nowhere/deep /link
COPY a.txt /link/
COPY dir /link/dir
