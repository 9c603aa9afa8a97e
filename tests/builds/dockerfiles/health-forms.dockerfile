FROM base AS a
HEALTHCHECK --interval=1h30m --retries=3 CMD ["curl", "-f", "x"]
FROM a AS b
HEALTHCHECK NONE
FROM b
HEALTHCHECK --timeout=1500ms --start-period=0s cmd echo 'quoted "x"'
