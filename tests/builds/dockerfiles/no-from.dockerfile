# fails
RUN true
