FROM base
CMD ["echo", "a b", "\"q\""]
CMD ["last", "one"]
