FROM base
ENV A=value B=
COPY <<EOF /plain
$A ${A} \$A ${B:-default} ${A:+plus} $C.
"double" 'single' `back` \\ \n
EOF
COPY <<'EOF' /single
$A ${A} \$A
EOF
COPY <<"EOF" /double
$A \ "
EOF
COPY <<E-O_F.1 /odd-name
body
E-O_F.1
