FROM base AS a
MAINTAINER "First One"
FROM a
MAINTAINER second <s@example.com>
LABEL maintainer=third
