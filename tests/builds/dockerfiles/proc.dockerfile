FROM base
RUN echo $$ > /pid; readlink /proc/self/exe > /exe
