FROM base
SHELL ["/bin/sh", "-ec"]
RUN <<EOF
echo $- > /flags
EOF
