# prepare: printf 'FROM base\nRUN echo x > /x \\\n' > Dockerfile
FROM base
