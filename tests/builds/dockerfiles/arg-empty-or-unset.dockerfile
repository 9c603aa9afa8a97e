# options: --build-arg E=
FROM base
ARG E=default
ARG F=
ARG G
ENV A=${E-unset} B=${E:-empty} C=${F-unset} D=${F:-empty} H=${G-unset} I=${G:-empty} J=${E+set} K=${G+set} L=${F:+full}
RUN echo "${E-unset} ${F-unset} ${G-unset}" > /out
