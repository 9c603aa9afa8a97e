# prepare: printf '\357\273\277' > D && cat Dockerfile >> D && mv D Dockerfile
FROM base
RUN echo x > /x
