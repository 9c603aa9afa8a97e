# fails
FROM base
RUN --mount=type=cache,target=/c,sharng=locked true
