FROM base
HEALTHCHECK --interval=30s --timeout=1m30s --start-period=500ms --start-interval=2s --retries=4 CMD wget -q x || exit 1
