FROM base
RUN --mount=type=tmpfs,target=/t --mount=type=tmpfs,target=/etc/t touch /t/lost /etc/t/lost && ls / > /ls
