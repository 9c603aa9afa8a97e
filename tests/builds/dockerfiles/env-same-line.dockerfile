FROM base
ENV a=old
ENV a=new b=$a
ENV c=$b d=$c
RUN echo $a $b $c $d > /out
