# prepare: mkdir -p over/x over/y; touch over/x/f; echo new > over/file; ln -s file over/link
FROM base
RUN mkdir -p /o/y && touch /o/y/old && ln -s y /o/x && echo old > /o/file && echo t > /o/target && ln -s target /o/link
COPY over /o
