# check=skip=all
# escape=\
FROM base
MAINTAINER x
