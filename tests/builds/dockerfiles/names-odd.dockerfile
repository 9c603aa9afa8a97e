# prepare: mkdir n; cd n; touch -- 'a b' 'tab	x' 'q"uote' "apos'" 'star*' 'br[a]cket' 'quest?' 'ünïcode' '日本語' '😀' '-dash' '$dollar' 'semi;colon' ' lead' 'trail ' '#hash' '~tilde' '%pct' 'a,b=c'
FROM base
COPY n /n
COPY ["n/a b", "/two words/"]
COPY n/ünïcode n/日本語 /u/
COPY n/star[*] n/-dash /s/
COPY ["n/#hash", "/#/"]
RUN touch '/x y' '/"' '/*'
