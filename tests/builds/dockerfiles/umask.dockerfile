FROM base
RUN umask > /u; touch /f; mkdir /d
