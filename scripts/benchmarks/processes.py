"""Commands that are measured: one that fails is a failure, with its stderr, never a success."""

from __future__ import annotations

import os
import subprocess
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Command = Sequence[str | Path]

_CHUNK = 1 << 20
_SHOWN = 400  # characters of stderr in a report
# Nothing of the caller's settings: locales and aliases change what tools do.
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C",
}


class FailedError(Exception):
    """A command failed, or what it did is not what it should have done."""


def require(condition: bool, complaint: str) -> None:
    """Fail unless a fact about the result holds."""
    if not condition:
        raise FailedError(complaint)


def run(command: Command) -> bytes:
    """Return what a command prints. It must exit with 0 and print nothing on stderr."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, env=_ENVIRONMENT, check=False
    )
    _require_success(command, done.returncode, done.stderr)
    return done.stdout


def run_tolerantly(command: Command) -> bytes:
    """Return what a command prints that may warn on stderr while it succeeds."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, env=_ENVIRONMENT, check=False
    )
    _require_success(command, done.returncode, b"" if done.returncode == 0 else done.stderr)
    return done.stdout


def count_bytes(command: Command) -> int:
    """Return how many bytes a command prints; they pass through a pipe as they would to a user."""
    return _consume(command, len)


def count_lines(command: Command) -> int:
    """Return how many lines a command prints."""
    return _consume(command, lambda chunk: chunk.count(b"\n"))


def _consume(command: Command, measure: Callable[[bytes], int]) -> int:
    # A pipe, not /dev/null: tar recognises that and reads no file.
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=words,
            env=_ENVIRONMENT,
        )
        assert process.stdout is not None
        with process, process.stdout as pipe:
            total = sum(map(measure, iter(lambda: os.read(pipe.fileno(), _CHUNK), b"")))
        words.seek(0)
        _require_success(command, process.returncode, words.read())
    return total


def _require_success(command: Command, code: int, words: bytes) -> None:
    if code or words:
        text = words.decode(errors="replace").strip()
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."
        raise FailedError(
            f"{os.path.basename(command[0])} exited with {code}: {shown or 'silently'}"
        )
