FROM base
RUN echo 1 > /a && ln /a /b && ln /a /c
RUN echo 2 > /new && mv /new /b && chmod 600 /c
RUN rm /a && ln /b /a
COPY a.txt /c
