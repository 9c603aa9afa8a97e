# fails
FROM base
ENV A=${NOT_SET:?must be set}
