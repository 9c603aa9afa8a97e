FROM base
RUN echo 1 > /n
RUN echo 2 > /n
RUN echo 3 > /n
RUN echo 4 > /n
RUN echo 5 > /n
RUN echo 6 > /n
RUN echo 7 > /n
RUN rm /n
