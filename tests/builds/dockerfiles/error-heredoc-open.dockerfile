# fails
FROM base
COPY <<EOF /x
never ends
