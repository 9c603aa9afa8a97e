FROM base
RUN dd if=/dev/zero of=/zeros bs=1024 count=5000 2> /dev/null
RUN echo x >> /zeros
RUN chmod 600 /zeros
