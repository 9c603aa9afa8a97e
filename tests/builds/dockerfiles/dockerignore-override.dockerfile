# options: -f Dockerfile
# prepare: printf 'dir\n' > Dockerfile.dockerignore; printf 'dir2\na.txt\n' > .dockerignore
FROM scratch
COPY . /
