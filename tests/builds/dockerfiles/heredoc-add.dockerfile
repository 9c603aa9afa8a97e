FROM base
ADD <<EOF /d/added
added
EOF
ADD --chmod=600 --chown=33:6 <<one a.txt <<two /e/
1
one
2
two
