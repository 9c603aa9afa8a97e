FROM base
COPY --exclude=*.txt . /x/
COPY --exclude=sub --exclude=*.md dir /y/
