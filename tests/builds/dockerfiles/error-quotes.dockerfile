# fails
FROM base
ENV R="${UNSET:-"in $S"}"
