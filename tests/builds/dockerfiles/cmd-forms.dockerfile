FROM base
CMD ["sh", "-c", "echo \"$HOME\""]
ENTRYPOINT ["/e", "x y"]
FROM base
CMD echo a && echo "b" # c
