# prepare: touch $(printf 'x%.0s' $(seq 255)); mkdir -p $(printf 'y%.0s' $(seq 100))/$(printf 'z%.0s' $(seq 100))/w; touch $(printf 'y%.0s' $(seq 100))/$(printf 'z%.0s' $(seq 100))/w/f
FROM base
COPY . /long/
RUN mv /long /longer
