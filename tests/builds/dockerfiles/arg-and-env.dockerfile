FROM base
ENV X=env
ARG X=arg
RUN echo "$X" > /first
ENV X=$X-again
RUN echo "$X" > /second
