FROM base
RUN true
RUN touch /x && rm /x
