FROM base AS parent
ONBUILD RUN echo triggered > /t
FROM parent
RUN echo own > /own
