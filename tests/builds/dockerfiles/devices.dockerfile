FROM base
RUN ls /dev/null /dev/zero > /devs; echo x > /dev/null
