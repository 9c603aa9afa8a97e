FROM base
HEALTHCHECK --interval=1m30s --timeout=500ms --retries=5 --start-period=2s CMD curl -f http://localhost/ || exit 1
HEALTHCHECK --interval=0s CMD ["a", "b"]
HEALTHCHECK --retries=0 cmd x
