# prepare: ln a.txt hard1; ln a.txt hard2; mkdir h; ln a.txt h/hard3; truncate -s 300000 sparse; echo end >> sparse; mkfifo pipe; python3 -c "import socket; socket.socket(socket.AF_UNIX).bind('sock')"
FROM base
COPY . /ctx/
COPY hard1 hard2 /two/
