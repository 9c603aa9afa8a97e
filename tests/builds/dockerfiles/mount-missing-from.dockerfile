# fails
FROM base
RUN --mount=type=bind,from=nothing.invalid/x,target=/m true
