# prepare: python3 -c "open('new\nline','w').close(); open(b'latin\xe9','w').close()"
FROM base
RUN touch "$(printf '/r\nn')" "$(printf '/l\351')"
