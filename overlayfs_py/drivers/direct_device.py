"""Reading requests from /dev/fuse: drain it, poll it briefly, then sleep.

Waking up costs more than answering: on a 2-core machine a round trip is mostly the daemon's way
out of its sleep. So after an answer the device is polled for a few microseconds, as long as that
pays: the budget grows when a request comes soon, and shrinks to nothing when none does. An idle
mount sleeps.
"""

from __future__ import annotations

import errno
import os
import select
import time
from typing import TYPE_CHECKING

from overlayfs_py.late_import import LateModule

if TYPE_CHECKING:
    import trio

    from overlayfs_py.drivers.idle_polling import Wakefulness
    from overlayfs_py.drivers.outdated import Outdated
else:
    trio = LateModule("trio")

# Guesses that the benchmark confirmed: a client that works through a list comes back within
# _SOON; longer polls than _MOST only take the processor from it.
_MOST_NS = 60_000
_SOON_NS = 150_000
# Guess: who has asked for nothing for so long has gone to do something else.
QUIET_MS = 4
# Less than what starting a program takes, which may look at what another has changed; far more than
# what passes between two requests of one that changes many files.
TELL_AFTER_MS = 1


class AnswerRefused(Exception):
    """The kernel takes no answer of this form: a bug of ours, and of one request alone."""


class Device:
    """The session's descriptor, non-blocking, and its one buffer."""

    def __init__(self, fd: int, buffer_size: int, wakefulness: Wakefulness) -> None:
        """Use `fd`, which stays its owner's. The kernel answers EINVAL to a buffer too small."""
        self._fd = fd
        self._wakefulness = wakefulness
        self._buffer = bytearray(buffer_size)
        self._view = memoryview(self._buffer)
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        self._is_readable = poll.poll
        # With one processor whoever we would wait for cannot run while we poll.
        self._most_ns = _MOST_NS if len(os.sched_getaffinity(0)) > 1 else 0
        self._budget_ns = 0
        self.requests = 0  # that have been read
        self.gone = False  # the mount is

    def try_read(self) -> memoryview | None:
        """Return the next request if there is one; it is valid until the next call."""
        try:
            length = os.readv(self._fd, [self._buffer])
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):  # interrupted before it was read
                return None
            # ECONNABORTED: it went away between the queue and us (fs/fuse/dev.c, fuse_dev_do_read).
            if error.errno in (errno.ENODEV, errno.ECONNABORTED):
                self.gone = True
                return None
            raise
        self.requests += 1
        return self._view[:length]

    def poll(self) -> memoryview | None:
        """Return a request that is there, or comes within the budget."""
        if self._budget_ns == 0:
            return self.try_read()
        end = time.perf_counter_ns() + self._budget_ns
        while not self.gone:
            # A third of what a read takes that fails: an exception is made for that.
            if self._is_readable(0):
                request = self.try_read()
                if request is not None:
                    return request
            os.sched_yield()
            if time.perf_counter_ns() > end:
                # Fruitless: poll half as long the next time.
                self._budget_ns = self._budget_ns // 2 if self._budget_ns > 4_000 else 0
                return None
        return None

    async def wait(self, outdated: Outdated | None = None) -> None:
        """Sleep until there is a request; one that comes soon makes the next poll longer.

        Once nobody has asked for a moment, the kernel is told what is outdated.
        """
        began = time.perf_counter_ns()
        if outdated:
            with trio.move_on_after(TELL_AFTER_MS / 1000) as soon:
                await trio.lowlevel.wait_readable(self._fd)
            if not soon.cancelled_caught:
                return
            outdated.tell()
        if self._wakefulness.holds:
            with trio.move_on_after(QUIET_MS / 1000) as quiet:
                await trio.lowlevel.wait_readable(self._fd)
            if quiet.cancelled_caught:
                self._wakefulness.rest()
                await trio.lowlevel.wait_readable(self._fd)
        else:
            await trio.lowlevel.wait_readable(self._fd)
        if time.perf_counter_ns() - began < _SOON_NS:
            self._budget_ns = min(self._most_ns, max(8_000, self._budget_ns * 2))

    def answer(self, message: bytes) -> None:
        """Write an answer; one that nobody waits for any more is dropped.

        Raises:
            AnswerRefused: its form is wrong; whoever waits for it may still do so.
        """
        try:
            os.write(self._fd, message)
        except OSError as error:
            _require_dropped(error, message)

    def answer_data(self, head: bytes, data: bytes | memoryview) -> None:
        """Write an answer in two pieces, the second of which may be large."""
        try:
            os.writev(self._fd, (head, data))
        except OSError as error:
            _require_dropped(error, head)


def _require_dropped(error: OSError, head: bytes) -> None:
    if error.errno == errno.EINVAL:
        raise AnswerRefused(f"by the kernel: {head[:16]!r}") from error
    # ENOENT: the request was interrupted meanwhile. ENODEV: the mount is gone.
    if error.errno not in (errno.ENOENT, errno.ENODEV):
        raise error
