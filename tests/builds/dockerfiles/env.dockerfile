FROM base
ENV A=1 B="two words" C=th\ ree
ENV D $A-old form
ENV A=2 E=$A
RUN env | grep -E '^[A-E]=' | sort > /env
