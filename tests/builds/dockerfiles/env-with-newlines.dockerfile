FROM base
ENV A=1 \
    # a comment between

    B=2
RUN echo "$A$B" \
# another
 > /out
