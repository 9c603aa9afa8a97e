# fails
ARG A=1
