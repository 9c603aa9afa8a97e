# fails
FROM base
RUN --mount=type=secret,id=no,required=true,env=X echo "$X"
