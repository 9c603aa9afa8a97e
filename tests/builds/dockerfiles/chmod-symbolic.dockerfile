# prepare: touch m1 m2 m3 m4; chmod 644 m1; chmod 755 m2; chmod 600 m3; chmod 444 m4; mkdir -p md/sub; chmod 700 md md/sub; touch md/f md/sub/x; chmod 640 md/f; chmod 755 md/sub/x
FROM base
COPY --chmod=a+x m1 m2 m3 m4 /1/
COPY --chmod=u=rw,go=r m1 m2 m3 m4 /2/
COPY --chmod=+X m1 m2 m3 m4 /3/
COPY --chmod=go-rwx m1 m2 m3 m4 /4/
COPY --chmod=u+s,g+s m1 m2 /5/
COPY --chmod=a=rX md /6
COPY --chmod=0 md /7
COPY --chmod=4755 m1 /8/
COPY --chmod=01777 md /9
