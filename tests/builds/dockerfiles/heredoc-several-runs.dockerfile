FROM base
RUN <<A cat > /a && <<-"B" sed s/x/y/ > /b
from a $PATH
A
	x tab
	B
RUN cat <<EOF > /c
EOFX
 EOF
EOF
RUN <<'EOF' sh
echo "$0 literal" > /d
EOF
RUN <<EOF
false
echo continued > /e
EOF
RUN <<EOF
EOF
RUN cat 3<<X /proc/self/fd/3 > /f
three
X
