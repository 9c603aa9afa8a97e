FROM base
COPY <<EOF /c
# this stays
  # this too

FROM nothing
RUN false
EOF
RUN <<EOF
# a comment of the shell

echo after > /after
EOF
