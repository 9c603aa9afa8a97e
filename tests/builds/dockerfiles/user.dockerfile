FROM base
USER web
USER 33:6
USER nobody-there
