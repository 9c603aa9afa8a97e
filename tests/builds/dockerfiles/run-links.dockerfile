FROM base
RUN echo x > /a && ln /a /b && ln -s a /c && ln -s /nowhere /broken && mkfifo /pipe
RUN echo y >> /b
