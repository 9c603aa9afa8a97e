FROM base
RUN echo one > /one && echo two > /two
RUN for i in 1 2 3; do echo $i; done > /loop
RUN echo "quotes 'in' \"quotes\"" > /quotes
