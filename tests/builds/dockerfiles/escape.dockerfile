# escape=`
FROM base
RUN echo a `
 && echo b > /b
ENV P=c:\x
ENV Q=a`b R="x`"y"
