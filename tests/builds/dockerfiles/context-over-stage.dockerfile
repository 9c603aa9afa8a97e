# options: --build-context mid=dir2
FROM base AS mid
RUN exit 1
FROM base
COPY --from=mid three /t
