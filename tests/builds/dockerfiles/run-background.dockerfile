FROM base
RUN (sleep 30; echo late > /late) & echo now > /now
