FROM base AS First
RUN echo 1 > /1
FROM first AS second
RUN echo 2 > /2
FROM base
COPY --from=second /1 /2 /d/
COPY --from=first /1 /one
