FROM base
RUN --network=host echo host > /n
RUN --network=default echo default > /d
