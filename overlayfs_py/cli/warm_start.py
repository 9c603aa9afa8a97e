"""`overlayfs-py warm start`."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from overlayfs_py.backends.option_values import OptionError
from overlayfs_py.cli import warm_place, warm_process
from overlayfs_py.errors import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

_HELP = """Start the process, unless it is there.

It ends after a time without commands, and by `stop`.

\b
Examples:
  overlayfs-py warm start
  overlayfs-py warm start --idle 30s
"""
_LOCK = "lock"
_LONGEST_ANSWER = 4096
# The words of the process are what ps(1) can show of its commands: this much.
_ROOM_FOR_WORDS = 4096


@click.command("start", help=_HELP)
@click.option("--idle", default="10m", show_default=True, metavar="TIME", help="Without commands.")
def command(idle: str) -> None:
    idle_s = _seconds(idle)
    directory = _made_directory()
    path = warm_place.path_in(directory)
    lock = os.open(f"{directory}/{_LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if warm_process.status(path) is not None:
            click.echo("It is there already.", err=True)
            return
        if os.path.lexists(path):
            os.unlink(path)  # nobody listens there
        _start(path, idle_s)
    finally:
        os.close(lock)


def _made_directory() -> str:
    """The directory that sockets are in, made where it is not there.

    Raises:
        NotADirectoryError: something else is there, or another user's.
        OSError: it cannot be made.
    """
    directory = warm_place.directory()
    with suppress(FileExistsError):
        os.mkdir(directory, 0o700)
    if not warm_place.is_own(os.lstat(directory)):
        why = "it must be a directory of yours, with mode 0700"
        raise NotADirectoryError(errno.ENOTDIR, why, directory)
    return directory


def _seconds(idle: str) -> float:
    from overlayfs_py.durations import parse_duration

    try:
        seconds = parse_duration(idle) / 1e9
    except ValueError:
        raise OptionError("--idle", f"{idle!r} is no time, as 90s, 10m or 1h is") from None
    if not seconds:
        raise OptionError("--idle", "it would end at once")
    return seconds


def _start(path: str, idle_s: float) -> None:
    import subprocess

    started = subprocess.Popen(
        [
            sys.executable,
            *_interpreters_words(),
            "warm",
            "serve",
            path,
            str(idle_s),
            "-" * _ROOM_FOR_WORDS,
        ],
        env=_first_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert started.stdout is not None
    answer = os.read(started.stdout.fileno(), _LONGEST_ANSWER)
    if answer != warm_process.READY:
        started.kill()
        started.wait()
        raise Failure(_last_line(answer))


def _first_environment() -> dict[bytes, bytes]:
    """The environment that this process began with: Python may have put LC_CTYPE into its own."""
    with open("/proc/self/environ", "rb") as file:
        pairs = (pair.partition(b"=") for pair in file.read().split(b"\0"))
        return {name: value for name, equals, value in pairs if equals}


def _interpreters_words() -> Sequence[str]:
    """What this interpreter was called with before the words of the command."""
    return sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1]


def _last_line(answer: bytes) -> str:
    lines = os.fsdecode(answer).splitlines()
    return lines[-1] if lines else "the process has ended at once"
