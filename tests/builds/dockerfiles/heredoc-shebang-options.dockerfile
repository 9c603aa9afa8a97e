FROM base
RUN <<EOF
#!/bin/sh -eu
echo $- > /flags
EOF
RUN <<'EOF'
#!/bin/cat
$NOT expanded
EOF
