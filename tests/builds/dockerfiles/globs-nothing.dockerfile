FROM base
COPY a.txt no-such-* /g/
COPY no-such-*.x /h/
