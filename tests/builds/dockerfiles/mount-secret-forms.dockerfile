# options: --secret id=one,src=a.txt --secret id=two,src=b.txt
FROM base
RUN --mount=type=secret,id=one,uid=33,gid=6,mode=0440 stat -c '%u %g %a' /run/secrets/one > /1
RUN --mount=type=secret,id=one,dst=/s/one --mount=type=secret,id=two,target=/s/two cat /s/one /s/two > /2
RUN --mount=type=secret,id=one,env=A --mount=type=secret,id=two,env=B echo "$A$B" > /3
RUN --mount=type=secret,target=/x/two,id=two,env=B echo "$B" > /4; cat /x/two >> /4
RUN ls /run /s > /ls 2> /dev/null || true
