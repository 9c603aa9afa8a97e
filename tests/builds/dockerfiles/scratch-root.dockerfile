FROM scratch
COPY --from=base / /
RUN ls / > /tmp-ls
