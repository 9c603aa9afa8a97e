# options: --build-context other=dir2
# prepare: echo three > dir2/.dockerignore; touch dir2/four
FROM base
COPY --from=other . /o/
