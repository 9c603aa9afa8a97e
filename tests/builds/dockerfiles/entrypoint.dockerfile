FROM base
CMD ["from", "base"]
ENTRYPOINT ["/bin/echo", "-n"]
