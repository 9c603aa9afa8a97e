ARG IMG="base"
ARG TAG='latest'
FROM ${IMG}:${TAG}
ARG A="quoted value"
ARG B='single $A'
ARG C=a\ b
ARG D="$A and ${C}"
ARG Q="\"q\""
ENV A2=$A B2=$B C2=$C D2=$D Q2=$Q
RUN echo "$A|$B|$C|$D|$Q" > /out
