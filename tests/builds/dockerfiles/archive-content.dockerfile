# prepare: mkdir t && cd t && echo x > f && ln f hard && ln -s f soft && ln -s /etc/passwd out && ln -s ../.. up && mkfifo pipe && mkdir -m 1777 sticky && touch 'we ird' ünï && chmod 4755 f && mkdir -m 700 private && touch private/x && mkdir -p $(printf 'd%.0s' $(seq 120)) && tar --owner=7 --group=8 -cf ../odd.tar . && cd .. && rm -r t
FROM base
ADD odd.tar /x/
ADD odd.tar /
