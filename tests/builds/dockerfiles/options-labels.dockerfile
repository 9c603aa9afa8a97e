# options: --label given=1 --label with.space=x=y
FROM base
LABEL given=0 own=2
