# prepare: mkdir -p ex/a/b/c ex/node_modules/x && touch ex/a/k.go ex/a/k_test.go ex/a/b/l.go ex/a/b/l_test.go ex/a/b/c/m_test.go ex/node_modules/x/y ex/.hid
FROM scratch
COPY --exclude=**/*_test.go --exclude=node_modules ex /1
COPY --exclude=*_test.go ex /2
COPY --exclude=a/b --exclude=!a/b/c ex /3
COPY --exclude=.* ex/ /4/
COPY --exclude=ex/a ex /5
COPY --exclude=k.go ex/a/k.go ex/a/k_test.go /6/
COPY --parents --exclude=**/b ./ex/a /7/
