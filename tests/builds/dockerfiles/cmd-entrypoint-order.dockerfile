FROM base AS a
ENTRYPOINT ["/e"]
CMD ["c"]
FROM a AS b
CMD ["d"]
ENTRYPOINT ["/f"]
FROM b
ENTRYPOINT []
