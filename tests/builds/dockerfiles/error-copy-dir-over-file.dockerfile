# fails
# prepare: mkdir -p over/file; touch over/file/x
FROM base
RUN mkdir /o && touch /o/file
COPY over /o
