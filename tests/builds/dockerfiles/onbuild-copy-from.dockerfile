FROM base AS other
RUN mkdir /o && echo other > /o/f
FROM base AS one
ONBUILD COPY --from=other /o /o
ONBUILD RUN --mount=type=bind,from=other,source=/o,target=/m cp /m/f /g
FROM one
