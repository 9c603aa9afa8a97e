FROM base
RUN <<EOF
#!/bin/sh
echo program $0 > /program
EOF
