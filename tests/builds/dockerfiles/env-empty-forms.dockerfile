FROM base
ENV A= B="" C='' D=$X E="${X}" F=a\ b G=a\\b H="a\"b" I='a"b' J=a"b"c'd'
ENV OLD one two   three  
ENV OLD2 "quoted words" and more
ENV P=$PATH:/more Q=${A:-fallback} R=${B-keep} S=${C:+set} T=${F:+set}
RUN env | grep -vE '^(HOME|HOSTNAME|PWD|SHLVL|_|OLDPWD|OTEL_[A-Z_]*|TRACEPARENT)=' | sort > /o
