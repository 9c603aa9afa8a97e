FROM base
RUN echo $PATH > /p1
ENV PATH=/opt/bin:$PATH
RUN echo $PATH > /p2
