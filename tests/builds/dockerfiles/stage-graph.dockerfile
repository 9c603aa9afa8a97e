FROM base AS root
RUN echo root > /root.txt
FROM root AS left
RUN echo left > /left
FROM root AS right
RUN echo right > /right
FROM scratch AS both
COPY --from=left /left /l/
COPY --from=right /right /r/
FROM both AS more
COPY --from=both / /copy/
FROM more
COPY --from=left / /whole/
