"""Go's text/template, as docker and podman take it for `--format`.

`lexer` and `parser` make a tree of `nodes`; `execution` walks it over `values`, which keep Go's
types, because what a template prints depends on them: `[a b]`, `map[80/tcp:{}]`, `<no value>`.
`printing` and `formatting` are Go's fmt; `functions` and `docker_functions` are what a template can
call. Nothing here does IO.

Not here: complex numbers, methods of values, other delimiters than braces.
Source: Go's packages text/template, fmt and strconv (1.26); docker/cli, templates.
"""
