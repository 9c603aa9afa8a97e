FROM base
CMD ["a", 1]
ENTRYPOINT ["a"
RUN ["echo", "hello"]; echo shell > /out || true
