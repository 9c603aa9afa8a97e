# fails
# prepare: mkdir -p over/x; touch over/x/f
FROM base
RUN mkdir -p /o/y && ln -s y /o/x
COPY over /o
