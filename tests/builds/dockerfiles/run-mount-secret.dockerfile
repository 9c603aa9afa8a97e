# options: --secret id=s,src=a.txt
FROM base
RUN --mount=type=secret,id=s cat /run/secrets/s > /s && stat -c '%a' /run/secrets/s > /mode
RUN --mount=type=secret,id=s,target=/etc/s,mode=0444 stat -c '%a' /etc/s > /mode2
RUN --mount=type=secret,id=s,env=S echo "$S" > /env
RUN --mount=type=secret,id=missing test ! -e /run/secrets/missing
