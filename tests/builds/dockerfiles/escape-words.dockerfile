# escape=`
FROM base
ENV A=`$x B="a`"b" C=c:\dir\ D=e`
  E=f
COPY a.txt `
  b.txt /d/
LABEL l="x`
y" m=a\b
RUN echo 'a\b' `
  > /out
