"""Processes of ours that do for a program what needs a fork: the program itself never forks.

fork(2) in a process with threads copies locks that nobody will release; exec right after it, as
subprocess does, is safe. Each process that stays has two ways to learn that its caller has gone:
the end of its stdin, and the caller's pidfd, which no child of the caller holds open.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from overlayfs_py.errors import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

# The path is appended, so that nothing beside our package hides a module of Python's or of a
# dependency; -P keeps the working directory out.
_START = (
    "import sys; sys.path.append(sys.argv.pop(1)); from {} import main; sys.argv[0] = {!r}; main()"
)
_PACKAGE_PARENT = str(Path(__file__).parents[2])
_COMMAND_LINE = "overlayfs_py.cli.main"


def argv(module: str, arguments: Sequence[str]) -> list[str]:
    """The words that run `main()` of a module of ours."""
    start = _START.format(module, "overlayfs-py")
    return [sys.executable, "-P", "-c", start, _PACKAGE_PARENT, *arguments]


def command_line(*arguments: str) -> list[str]:
    """The words that run the command line."""
    return argv(_COMMAND_LINE, arguments)


def run_command(*arguments: str) -> None:
    """Run a command to its end.

    Raises:
        OverlayError: it failed.
    """
    done = subprocess.run(
        command_line(*arguments),
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    if done.returncode:
        raise failure(done.stderr, done.returncode)


def failure(stderr: bytes, exit_code: int) -> Failure:
    """What a command of ours that failed says, as an error."""
    lines = os.fsdecode(stderr).splitlines()
    said = lines[-1].removeprefix("overlayfs-py: ") if lines else "a process of ours ended at once"
    return Failure(said, exit_code if exit_code > 0 else 1)


class Companion:
    """A process of ours that ends with this one, or with `close`. Speaks lines of JSON."""

    def __init__(self, module: str, arguments: Sequence[str] = ()) -> None:
        self._lock = threading.Lock()  # any thread of the program may ask, or end it
        pidfd = os.pidfd_open(os.getpid())
        # A file: nobody reads while it works, and a pipe would fill up.
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                argv(module, [str(pidfd), *arguments]),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                pass_fds=(pidfd,),
                start_new_session=True,  # ^C is for the program, which then ends this one
            )
        except BaseException:
            self._stderr.close()
            raise
        finally:
            os.close(pidfd)

    def ask(self, request: dict[str, object]) -> dict[str, object]:
        """Send a request and return the answer; raises as `answer`."""
        with self._lock:
            if self._process.returncode is not None:
                raise Failure("it is closed")
            assert self._process.stdin is not None
            with suppress(BrokenPipeError):  # it has ended, and says why
                self._process.stdin.write(json.dumps(request).encode() + b"\n")
                self._process.stdin.flush()
            return self.answer()

    def answer(self) -> dict[str, object]:
        """Wait for the next line.

        Raises:
            OverlayError: it holds a failure, or there is none since the process has ended.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        answer: dict[str, object] = json.loads(line)
        if "error" in answer:
            raise Failure(str(answer["error"]), int(str(answer["exit_code"])))
        return answer

    def close(self) -> None:
        """Let it end, and wait until it has. May be called again."""
        with self._lock:
            if self._process.returncode is None:
                # Closes its stdin; whatever it still writes is read, so that it can end.
                self._process.communicate()
                self._stderr.close()

    def _ended(self) -> Failure:
        self._process.communicate()
        self._stderr.seek(0)
        with self._stderr:
            return failure(self._stderr.read(), self._process.returncode)
