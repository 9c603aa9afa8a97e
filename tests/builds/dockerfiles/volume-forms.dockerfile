FROM base
ENV V=/var/v
VOLUME $V ${V}2
VOLUME ["$V/json", "/b"]
VOLUME relative
VOLUME /with/slash/
