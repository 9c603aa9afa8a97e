FROM base
RUN <<EOF cat | grep -v b > /out
a
b
EOF
RUN cat <<ONE <<TWO > /two
one
ONE
two
TWO
RUN <<EOF sh -x
echo given > /given
EOF
