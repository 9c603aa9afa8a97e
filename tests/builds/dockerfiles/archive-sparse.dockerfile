# prepare: truncate -s 1M sparse && echo end >> sparse && tar --sparse -cf sparse.tar sparse
FROM base
ADD sparse.tar /x/
