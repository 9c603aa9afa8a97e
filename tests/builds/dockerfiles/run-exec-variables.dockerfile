FROM base
ENV V=value
RUN ["sh", "-c", "echo $V \"$0\" '$1' > /a", "zero", "$V"]
RUN [ "/bin/echo" ]
RUN ["sh","-c","echo \"\\u0041 \\t tab\" > /b"]
RUN   [ "sh" , "-c" , "touch /c" ]
RUN ["sh", "-c", "echo not json > /d" ]  && echo tail > /e || true
