FROM base as Build
RUN echo 1 > /1
from BUILD AS Final-1.x_y
run echo 2 > /2
From base
Copy --from=bUiLd /1 /one
COPY --from=final-1.x_y /2 /two
