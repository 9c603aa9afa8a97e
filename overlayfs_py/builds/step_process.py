"""The process that a RUN step is done by: with a scratch directory that is gone when it is.

Plan: a child of the caller does the step, and makes the layer before the scratch directory goes.
Whichever of them is killed, the kernel ends the rest, and the keeper removes the directory.
"""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

from overlayfs_py.mounts import children
from overlayfs_py.mounts.scratch import scratch_directory
from overlayfs_py.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from overlayfs_py.image.digest import Digest
    from overlayfs_py.mounts.children import Report


class RunResult(NamedTuple):
    """What came of it: the command's exit status, and the layer if that is 0."""

    status: int
    layer: Digest | None


def run(base: bytes, work: Callable[[bytes], RunResult]) -> RunResult:
    """Do `work` with a scratch directory below `base`, its output going to this process's own.

    The calling process must have one thread.

    Raises:
        Failure: it cannot be done; nothing is left behind.
    """
    over_fd, users_fd = os.pipe()
    supervisor_fd = os.pidfd_open(os.getpid())

    def be_supervisor(report: Report) -> None:
        os.close(over_fd)
        children.die_with(supervisor_fd, signal.SIGKILL)
        with scratch_directory(base, _LastWord(users_fd)) as scratch:
            result = work(scratch)
        # Once the scratch directory has gone.
        report.ready(json.dumps(result).encode())

    child = children.start(be_supervisor)
    os.close(users_fd)
    os.close(supervisor_fd)
    try:
        told = json.loads(child.ready())
        child.wait()
    except BaseException:
        child.kill(signal.SIGKILL)
        child.wait()
        raise
    finally:
        os.read(over_fd, 1)  # until nothing of it is left
        os.close(over_fd)
    return RunResult(*told)


class _LastWord:
    """Holds a pipe open until the scratch directory has gone."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @property
    def needed_fds(self) -> frozenset[int]:
        return frozenset({self._fd})

    def __call__(self) -> None:
        """There is nothing to do but to have been there."""
