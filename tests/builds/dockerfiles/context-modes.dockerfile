# prepare: touch m1 m2 m3; chmod 0 m1; chmod 7777 m2; chmod 4711 m3; mkdir -m 1770 md; mkdir -m 2700 ms; touch ms/x
FROM base
COPY . /ctx/
COPY m1 m2 m3 /m/
