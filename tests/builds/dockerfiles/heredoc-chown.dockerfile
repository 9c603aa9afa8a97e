FROM base
WORKDIR /w
USER web
COPY --chown=web:disk --chmod=750 <<EOF run.sh
#!/bin/sh
EOF
