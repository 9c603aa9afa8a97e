# prepare: mkdir -p t/d t/e && echo n > t/d/f && ln -s d t/l && echo w > t/e/w && tar -cf over.tar -C t . && rm -r t
FROM base
RUN mkdir -p /x/d /x/l /real && echo o > /x/d/f && echo o > /x/d/keep && ln -s /real /x/e && chmod 700 /x/d
ADD over.tar /x/
ADD over.tar /x2
