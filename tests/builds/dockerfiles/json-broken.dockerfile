FROM base
CMD ["a" "b"]
ENTRYPOINT ["a"
RUN ["echo", "hello"]; echo shell > /out || true
