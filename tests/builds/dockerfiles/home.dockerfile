FROM base
RUN echo $HOME > /h1; cd; pwd > /h2
ENV HOME=/other
RUN echo $HOME > /h3
