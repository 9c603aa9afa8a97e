FROM base
ENV A=1
RUN env | cut -d= -f1 | grep -v -E '^(SHLVL|_|OLDPWD)$' | sort > /env
RUN ["env"]
RUN ulimit -n > /dev/null; umask > /umask; echo $0 > /zero
