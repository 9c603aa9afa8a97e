# options: --build-arg D=dir
FROM base
ARG D
ENV T=/target
WORKDIR /w
RUN --mount=type=bind,source=${D},target=${T}/x ls $T/x > /ls
RUN --mount=source=$D/sub,target=rel cat rel/deep.txt > /deep
