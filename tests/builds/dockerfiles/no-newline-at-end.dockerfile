# prepare: printf 'FROM base\nRUN echo x > /x' > Dockerfile
FROM base
