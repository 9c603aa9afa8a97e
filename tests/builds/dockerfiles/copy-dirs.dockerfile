FROM base
COPY dir /dir
COPY dir/ /other/
COPY dir dir2 /both/
