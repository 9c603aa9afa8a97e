FROM base
CMD echo $HOME
