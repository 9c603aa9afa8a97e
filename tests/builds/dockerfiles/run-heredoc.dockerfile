FROM base
RUN <<EOF
echo one > /one
echo "$HOME" > /home.txt
EOF
RUN <<"EOF" sh
echo quoted $HOME > /quoted
EOF
RUN cat <<A > /a && cat <<B > /b
in a
A
in b
B
