FROM base
COPY --parents dir/sub/deep.txt a.txt /p/
COPY --parents dir/./sub /q/
