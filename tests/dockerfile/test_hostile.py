"""Dockerfiles made to hurt: each is read or refused, in bounded time and memory, in one line."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from overlayfs_py.advice.linting import lint
from overlayfs_py.dockerfile.errors import DockerfileError
from overlayfs_py.dockerfile.expanding import expanded
from overlayfs_py.dockerfile.expansion import expand
from overlayfs_py.dockerfile.parsing import parse

_LINE = 65_000
_REFUSED = {
    "100 MB of one line": (b"RUN " + b"x" * 100_000_000, "100000014 bytes: a Dockerfile has"),
    "a long line": (b"RUN " + b"x" * 70_000, "2:1: a line of 70004 characters: it has at most"),
    "a long comment": (b"#" * 70_000, "2:1: a line of 70000 characters"),
    "many continuations": ((b"RUN \\\n" + b"x" * 1000 + b"\\\n") * 2000, "2:1: an instruction of"),
    "many instructions": (b"RUN a\n" * 6000, "5001:1: more than 5000 instructions"),
    "many NULs": (b"\0" * _LINE, "2:1: a NUL byte"),
    "deep substitutions": (b"ENV A=" + b"${A:-" * 13_000, "in each other"),
    "open braces": (b"ENV A=" + b"${" * 30_000, "no operator '{'"),
    "many quotes": (b"ENV A=" + b"'\"" * 30_001, "is not closed"),
    "no quote at the end": (b"ENV A=" + b"\\" * 30_000 + b'"', 'this " is not closed'),
    "deep JSON": (b"CMD " + b"[" * 60_000 + b"1", None),
    "long numbers": (b"CMD [" + b"9" * 60_000 + b"]", "something else than strings"),
    "a number of an exponent": (b"CMD [1e999999999]", "something else than strings"),
    "many heredocs": (b"RUN cat " + b"<<A " * 16_000, "does not end"),
    "a heredoc in pieces": (b"RUN cat <<" + b"'a'\"b\"" * 10_000, "does not end"),
    "a long descriptor": (b"RUN cat " + b"9" * 60_000 + b"<<A", "does not end"),
    "a long unknown word": (b"X" * _LINE, "unknown instruction 'XXX"),
    "a long unknown flag": (b"COPY --" + b"x" * _LINE + b" a b", "unknown flag '--xxx"),
    "a long port": (b"EXPOSE " + b"9" * _LINE, None),
    "controls": (b"R\x1b[2J\xe2\x80\xae\x07 x", r"'R\x1b[2J\u202e\x07'"),
    "not UTF-8": (b"RUN \xff\xfe", "2:5: byte 0xff is not UTF-8"),
    "a surrogate": (b"RUN \xed\xa0\x80", "2:5: byte 0xed is not UTF-8"),
    "many mounts": (b"RUN --mount=" + b"a," * 30_000 + b" x", "no mount option 'a'"),
    "quotes in a mount": (b"RUN --mount=" + b'\\"' * 30_000 + b" x", "no mount option"),
    "a long duration": (b"HEALTHCHECK --interval=" + b"9" * _LINE + b"h CMD x", "expected a time"),
}


@pytest.mark.parametrize("what", [what for what, (_, reason) in _REFUSED.items() if reason])
def test_what_is_refused(what: str) -> None:
    text, reason = _REFUSED[what]
    with pytest.raises(DockerfileError) as raised:
        parse(b"FROM a:1\n" + text + b"\n", "Dockerfile")

    lines = [str(raised.value), *raised.value.details]
    assert reason in lines[0]
    assert all(line.isprintable() and len(line) < 400 for line in lines)


@pytest.mark.parametrize("what", [what for what, (_, reason) in _REFUSED.items() if not reason])
def test_what_is_read(what: str) -> None:
    found = parse(b"FROM a:1\n" + _REFUSED[what][0] + b"\n", "Dockerfile")

    lint(found)
    assert len(found.stages[0].instructions) == 1


def _doubled(times: int) -> None:
    values = {"A0": "x" * 64}
    for count in range(1, times):
        env = parse(f"FROM a\nENV A{count}=$A{count - 1}$A{count - 1}".encode(), "D")
        pair = expanded(env.stages[0].instructions[0], values).instruction.pairs[0]
        values[pair.name] = pair.value


def test_values_that_double_are_stopped() -> None:
    with pytest.raises(DockerfileError, match="more than 16777216 characters") as raised:
        _doubled(40)
    assert raised.value.position.line == 2


@pytest.mark.parametrize("operator", ["#", "##", "%", "%%", "/", "//"])
def test_a_pattern_on_a_long_value_takes_no_years(operator: str) -> None:
    word = f"${{A{operator}{'*a' * 200}*b{'/x' if '/' in operator else ''}}}"

    assert expand(word, {"A": "a" * 100_000}).text == "a" * 100_000


def test_the_largest_dockerfile_needs_little_memory() -> None:
    # As much as there may be of what becomes most parts.
    program = (
        "from overlayfs_py.dockerfile.parsing import parse\n"
        "pairs = [b'A=' + b'$a' * 30000 + b' \\\\\\n' for _ in range(15)]\n"
        "found = parse(b'FROM a\\nENV ' + b''.join(pairs) + b' B=1\\n', 'D')\n"
        "print(len(found.stages[0].instructions))\n"
    )
    limit = 1 << 29
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )

    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


_LONG = 240_000
_FOR_LINT = {
    "words of a URL": ("RUN ", "a-", _LONG),
    "slashes": ("COPY ", "/", _LONG),
    "secrets": ("ARG A_TOKEN\nRUN ", "$A_TOKEN ", _LONG),
    "substitutions": ("RUN ", "$(", _LONG),
    "removals": ("COPY . /a\nRUN rm ", "/a/b ", _LONG),
    "many commands": ("RUN ", "apk add a;", _LONG),
    "heredocs of a script": ("RUN <<EOF\n", "cat <<A\nA\n", _LONG),
    "open heredocs": ("RUN <<EOF\n", "cat <<A <<B\n", _LONG),
    "owners": ("COPY . /a\nRUN chown -R a ", "/a/b/c ", _LONG),
    "quotes": ("RUN ", "'\"'\"", _LONG),
}


@pytest.mark.parametrize("what", _FOR_LINT)
def test_advice_on_hostile_dockerfiles_ends(what: str) -> None:
    start, piece, size = _FOR_LINT[what]
    folded = "\\\n".join([piece * (60_000 // len(piece))] * (size // 60_000))
    body = piece * (size // len(piece)) if "<<EOF" in start else folded
    end = "\nEOF\n" if "<<EOF" in start else " x\n"

    lint(parse(f"FROM a:1\n{start}{body}{end}".encode(), "Dockerfile"))
