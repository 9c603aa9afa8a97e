# syntax=docker/dockerfile:1
FROM base
RUN --mount=type=tmpfs,target=/t true
