# fails
FROM base
RUN --mount=type=bind,source=not-there,target=/x true
