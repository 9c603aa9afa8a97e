# fails
# prepare: head -c 100000 /dev/urandom > r; tar czf whole.tgz r; head -c 50000 whole.tgz > cut.tgz; rm r
FROM base
ADD cut.tgz /n/
