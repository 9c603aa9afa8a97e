FROM base
COPY <<EOF /empty
EOF
COPY <<EOF /blank

EOF
