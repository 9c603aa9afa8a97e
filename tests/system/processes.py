"""Running other programs, and waiting for what they do without sleeping blindly."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Word = str | os.PathLike[str]


class CommandFailed(AssertionError):
    """A command that had to succeed did not: says which, and what it printed."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        command = " ".join(map(os.fspath, done.args))
        super().__init__(
            f"{command}\nexited with {done.returncode}\n"
            f"stdout: {done.stdout.strip()}\nstderr: {done.stderr.strip()}"
        )


def attempt(
    argv: Sequence[Word],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, whatever its exit status.

    Output goes to files, not pipes: a daemon that keeps the caller's stderr open would otherwise
    hold the test until it ends, and hide that the command itself has returned.
    """
    with TemporaryFile() as out, TemporaryFile() as err:
        code = subprocess.run(
            argv,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            timeout=timeout,
        ).returncode
        return subprocess.CompletedProcess(argv, code, _text(out), _text(err))


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def run(
    argv: Sequence[Word],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 60,
) -> str:
    """Run a command that has to succeed and return what it printed on stdout."""
    done = attempt(argv, env=env, cwd=cwd, timeout=timeout)
    if done.returncode:
        raise CommandFailed(done)
    return done.stdout


def wait_until(condition: Callable[[], bool], what: str, *, seconds: float = 10) -> None:
    """Return as soon as `condition` holds; fail, naming `what`, when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still waiting after {seconds} s for {what}"
        time.sleep(0.01)


def processes_naming(text: str) -> dict[int, list[str]]:
    """Return the arguments of the processes that have `text` in them, by pid; ours left out."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            arguments = (entry / "cmdline").read_text(errors="surrogateescape")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended between the listing and the reading
        if text in arguments:
            found[int(entry.name)] = arguments.split("\0")
    return found
