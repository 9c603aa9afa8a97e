FROM base
RUN set -e; \
    for i in 1 2 3; do \
      echo "line $i" >> /o; \
    done; \
\
    # comment # with hash
    echo 'a # b' >> /o; \
    echo "c \
d" >> /o
RUN echo "trailing \\" > /p
RUN printf '%s\n' 'sq $HOME' "dq $HOME" \$HOME > /q
