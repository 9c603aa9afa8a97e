FROM base
COPY --from=base:latest /etc/group /g
COPY --from=base --chown=33:6 --chmod=600 /etc/passwd /p/
