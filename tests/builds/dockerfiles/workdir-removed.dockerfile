FROM base
WORKDIR /gone
RUN rm -rf /gone
RUN pwd > /pwd
COPY a.txt b
