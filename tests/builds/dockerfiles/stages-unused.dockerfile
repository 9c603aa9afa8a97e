FROM base AS unused
RUN exit 1
FROM base AS used
RUN echo used > /used
FROM used
