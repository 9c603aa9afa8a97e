# prepare: mkdir -p e/f/g e/.hidden; touch e/.hidden/x .dot
FROM base
COPY e /e
COPY e/f /f/
COPY .dot /
