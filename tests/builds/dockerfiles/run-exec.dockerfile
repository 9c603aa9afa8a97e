FROM base
RUN ["sh", "-c", "echo exec > /exec"]
RUN ["touch", "/a b", "/$NOT"]
