FROM base
ENV	A=1	B=2 \
	# a comment in between
	C=3 \

	D="4 \
 5"
RUN	echo "$A$B$C$D" \
  # another
  > /o
