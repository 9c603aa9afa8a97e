FROM base AS one
ONBUILD RUN <<EOF
echo from the trigger > /t
EOF
ONBUILD COPY <<EOF /c
body $PATH
EOF
FROM one
RUN cat /t > /u
