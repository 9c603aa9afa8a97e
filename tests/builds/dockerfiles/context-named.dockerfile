# options: --build-context other=dir2
FROM base
COPY --from=other . /o/
COPY --from=other three /t
RUN --mount=from=other,target=/m cat /m/three > /u
