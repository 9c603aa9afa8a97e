FROM base AS first
RUN mkdir '/sp ace' && echo 1 > '/sp ace/a b' && echo 2 > '/sp ace/c'
FROM base
COPY --from=first ["/sp ace/a b", "/out dir/"]
COPY ["a.txt", "b.txt", "/j/"]
COPY [ "dir" , "/k" ]
