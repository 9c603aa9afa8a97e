FROM does-not-exist.invalid/image:none AS never
RUN false
FROM base AS alsonever
COPY missing /
FROM base
RUN echo ok > /ok
