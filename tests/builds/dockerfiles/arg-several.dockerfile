FROM base
ARG A=1 B C=3
RUN echo "$A$B$C" > /out
