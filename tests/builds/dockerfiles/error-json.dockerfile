# fails
FROM base
CMD ["a", 1]
