# prepare: mkdir -p over/y; touch over/y/f; echo new > over/file; ln -s file over/link
FROM base
RUN mkdir -p /o/y && touch /o/y/old && echo old > /o/file && echo t > /o/target && ln -s target /o/link
COPY over /o
