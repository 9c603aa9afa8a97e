FROM   base    AS	tabbed
  RUN   echo   "a   b"   >   /x   
	COPY	a.txt	/d/	
RUN echo trailing \  
  more > /y
LABEL   a=b    c=d   
