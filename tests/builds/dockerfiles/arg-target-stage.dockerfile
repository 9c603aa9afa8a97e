# options: --target last
FROM base AS first
ARG TARGETSTAGE
RUN echo "$TARGETSTAGE" > /stage
FROM base AS last
ARG TARGETSTAGE
COPY --from=first /stage /from-first
RUN echo "$TARGETSTAGE" > /stage
