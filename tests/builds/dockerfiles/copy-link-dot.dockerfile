FROM base
WORKDIR /w/x
COPY --link a.txt .
COPY --link b.txt ./
COPY --link dir ..
COPY --link dir/sub ../up/
COPY --link dir2 ""
