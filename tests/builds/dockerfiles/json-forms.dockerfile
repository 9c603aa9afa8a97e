FROM base
CMD [ "a" , "b c" ,"\u0041" ]
RUN [ "sh","-c" , "echo $HOME > /out" ]
ENTRYPOINT ['not', 'json']
VOLUME [ "/v one", "/v2" ]
COPY [ "a.txt","/c d/" ]
