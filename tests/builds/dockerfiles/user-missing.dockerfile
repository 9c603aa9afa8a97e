# fails
FROM base
USER nobody-here:nogroup-here
RUN true
