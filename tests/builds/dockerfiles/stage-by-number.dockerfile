FROM base
RUN echo 0 > /0
FROM base
RUN echo 1 > /1
FROM base
COPY --from=0 /0 /
COPY --from=1 /1 /
RUN --mount=from=1,target=/m cat /m/1 > /2
