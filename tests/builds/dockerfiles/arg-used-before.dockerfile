FROM base
RUN echo "${A:-none}" > /1
ARG A=later
RUN echo "${A:-none}" > /2
ENV A=env
RUN echo "${A:-none}" > /3
