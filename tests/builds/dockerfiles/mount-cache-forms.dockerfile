FROM base
RUN --mount=type=cache,target=/c1 echo 1 > /c1/f
RUN --mount=type=cache,target=/c1,uid=33,gid=6,mode=0711,id=other stat -c %u:%g:%a /c1 > /2
RUN --mount=type=cache,target=/c3,sharing=locked --mount=type=cache,target=/c4,sharing=private true
RUN --mount=type=cache,dst=/c5,ro ! touch /c5/x
RUN --mount=type=cache,destination=/c6/deep/er ls -d /c6/deep/er > /6
RUN --mount=type=tmpfs,target=/t6,size=1m df -k /t6 | tail -1 | awk '{print $2}' > /7
RUN ls -d /c* > /8; true
