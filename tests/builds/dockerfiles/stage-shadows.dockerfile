FROM base AS a
RUN echo first > /f
FROM a AS a
RUN echo second > /g
FROM a
RUN ls /f /g > /ls
