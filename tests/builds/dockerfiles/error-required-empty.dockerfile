# fails
FROM base
ARG E=
RUN true
LABEL a=${E:?must not be empty}
