FROM base
ENV A=1
CMD ["x"]
LABEL l=1
