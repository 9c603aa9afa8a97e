FROM base
RUN <<-EOF
	echo tabs > /tabs
	EOF
