FROM base
RUN <<EOF
cat > /inner <<IN
in $((1+2))
IN
cat > /literal <<'IN'
in $((1+2))
IN
EOF
