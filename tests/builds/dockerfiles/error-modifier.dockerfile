# fails
FROM base
ENV A=${B:!x}
