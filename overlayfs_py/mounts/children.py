"""Child processes that say when they are ready, or why they will never be.

Plan: a pipe from the child, closed on exec, carries one report. `+` and text: ready, and
something the parent needs to know. `-`, an exit code and text: failed. Closed without a word: the
child has become another program, or is dead. So a failure ends up where the user looks, whichever
process it happened in, and nothing of a child's setup is lost in its own stderr.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import traceback
from typing import TYPE_CHECKING, NoReturn

from overlayfs_py.errors import BUG, Failure, describe, exit_code_of
from overlayfs_py.syscalls import namespaces

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

log = logging.getLogger(__name__)

# What a pipe takes, and so gives, in one piece: the parent need not wait for the end of the file,
# which a grandchild may keep away.
_LONGEST_WORD = select.PIPE_BUF
_STOP_S = 30.0  # a guess: a mount with much to write back needs some of it


class Report:
    """The child's end of the pipe. It takes one word; a failure after that goes to the log."""

    def __init__(self, fd: int) -> None:
        self.fd: int | None = fd

    def ready(self, text: bytes = b"") -> bool:
        """Say so; whether there was still somebody to hear it."""
        return self._send(b"+" + text)

    def failed(self, error: OSError) -> None:
        """Say so: the parent raises it again as a `Failure`."""
        if self.fd is None:
            log.error("%s", describe(error))
        else:
            self._send(b"-%d %s" % (exit_code_of(error), os.fsencode(describe(error))))

    def close(self) -> None:
        """Leave the word to the processes that have been forked since."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def _send(self, message: bytes) -> bool:
        assert self.fd is not None
        try:
            os.write(self.fd, message[:_LONGEST_WORD])
        except BrokenPipeError:
            return False
        finally:
            self.close()
        return True


class Child:
    """A process that we forked."""

    def __init__(self, pid: int, report_fd: int) -> None:
        self.pid = pid
        self._report_fd = report_fd
        self._status: int | None = None  # known once it has been waited for

    def ready(self) -> bytes:
        """Wait until the child is ready and return what it says.

        Raises:
            Failure: it failed, or it died without a word. It has ended then.
        """
        text = self.word()
        if text is None:
            status = self.wait()
            raise Failure(f"a process of ours ended at once: {in_words(status)}", status or 1)
        return text

    def word(self) -> bytes | None:
        """Wait for the report; None where the child became another program, or died.

        Raises:
            Failure: the child's own; it has ended then.
        """
        message = os.read(self._report_fd, _LONGEST_WORD)
        os.close(self._report_fd)
        if message.startswith(b"-"):
            self.wait()
            code, _, text = message[1:].partition(b" ")
            raise Failure(os.fsdecode(text), int(code))
        return message[1:] if message else None

    def kill(self, number: signal.Signals) -> None:
        """Send a signal, unless the end has been waited for."""
        if self._status is None:
            os.kill(self.pid, number)

    def wait(self) -> int:
        """Wait for the end and return it as a shell shows it: 128 + n after signal n."""
        if self._status is None:
            self._status = shell_status(os.waitpid(self.pid, 0)[1])
        return self._status

    def stop(self) -> None:
        """Ask it to end, wait until it has, and kill it where it does not in time."""
        self.kill(signal.SIGTERM)
        if not self.ends_within(_STOP_S):
            self.kill(signal.SIGKILL)
        self.wait()

    def ends_within(self, seconds: float) -> bool:
        """Wait for the end, but not for ever; whether it came."""
        if self._status is None:
            fd = os.pidfd_open(self.pid)
            try:
                has_ended, _, _ = select.select([fd], [], [], seconds)
            finally:
                os.close(fd)
            if not has_ended:
                return False
        self.wait()
        return True

    def poll(self) -> int | None:
        """What `wait` returns, or None while the child lives."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = shell_status(status)
        return self._status


def start(work: Callable[[Report], int | None], fork: Callable[[], int] = os.fork) -> Child:
    """Fork, and do `work` in the child; it ends with what `work` returns.

    Only to be called while there is one thread. What `work` raises is reported.
    """
    read_fd, write_fd = os.pipe()
    # Until then the child is not one of Python's, which forgets what came to it.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = fork()
    except BaseException:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        raise
    if not pid:
        os.close(read_fd)
        _run(work, Report(write_fd), mask)
    os.close(write_fd)
    child = Child(pid, read_fd)
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    except BaseException:  # one of those that have waited
        child.stop()
        raise
    return child


def _run(work: Callable[[Report], int | None], report: Report, mask: Collection[int]) -> NoReturn:
    code: int | None = BUG
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        code = work(report)
    except OSError as error:
        report.failed(error)
        code = exit_code_of(error)
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    except BaseException:
        traceback.print_exc()
    finally:
        # Never back into the parent's code, of which this process is a copy.
        sys.stderr.flush()
        os._exit(code or 0)


def die_with(parent_pidfd: int, number: signal.Signals) -> None:
    """Have the kernel send `number` to this process when its parent ends, however that happens.

    `parent_pidfd` shows whether the parent ended before this call. It is closed.
    """
    namespaces.signal_when_parent_dies(number)
    is_dead, _, _ = select.select([parent_pidfd], [], [], 0)
    os.close(parent_pidfd)
    if is_dead:
        signal.raise_signal(number)


def take_null_stdio(*, keep_stderr: bool = False) -> None:
    """Use /dev/null for stdin, stdout and stderr instead of the caller's files."""
    null_fd = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1) if keep_stderr else (0, 1, 2):
        os.dup2(null_fd, fd)
    os.close(null_fd)


def close_all_but(*kept: int) -> None:
    """Close every descriptor but stdin, stdout, stderr and those in `kept`."""
    first = 3
    for fd in sorted(kept):
        os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))


def shell_status(status: int) -> int:
    """Return a wait status as `$?` has it."""
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def in_words(status: int) -> str:
    """Return what `shell_status` says in words."""
    if status > 128 and status - 128 in signal.valid_signals():
        return f"killed by {signal.Signals(status - 128).name}"
    return f"exit status {status}"
