FROM base
COPY --parents **/*.txt /p/
COPY --parents ./dir/./sub/*.txt dir2 /q/
COPY --parents dir/*/ /r/
COPY --parents --chown=33 --chmod=700 dir/sub a.txt /s
