FROM base AS build
RUN mkdir /out && echo built > /out/f
FROM scratch
COPY --from=build /out/ /
COPY --from=0 /out/f /by-number
