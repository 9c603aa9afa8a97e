FROM base
RUN mkdir -p /m/sub && echo below > /m/f && echo below > /file
RUN --mount=type=tmpfs,target=/m ls /m > /ls1; touch /m/lost
RUN --mount=type=bind,source=a.txt,target=/file cat /file > /seen
RUN --mount=type=bind,source=dir,target=/m cat /m/one.txt >> /seen
RUN cat /m/f /file >> /seen
