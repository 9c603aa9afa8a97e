FROM base
ARG X=arg
ENV X=env
RUN echo "$X" > /first
ARG X
RUN echo "$X" > /second
