"""Work that needs trio, in a process of its own: it leaves threads behind, and a build forks."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from overlayfs_py.mounts import children

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from overlayfs_py.mounts.children import Report
    from overlayfs_py.store.additions import Addition


def apart(addition: Addition, work: Callable[[], Awaitable[bytes]]) -> bytes:
    """Run `work` under trio in a child, and return what it returns; it ends with the caller.

    The calling process must have one thread. What is added to the store there stays as if it were
    added here.

    Raises:
        Failure: what `work` raised, if that was an OSError.
    """
    parent_fd = os.pidfd_open(os.getpid())
    with addition.scratch_file() as result:

        def run(report: Report) -> None:
            children.die_with(parent_fd, signal.SIGKILL)
            result.write(_run(work))
            result.flush()
            report.ready()

        child = children.start(run)
        os.close(parent_fd)
        child.ready()
        child.wait()
        result.seek(0)
        return result.read()


def _run(work: Callable[[], Awaitable[bytes]]) -> bytes:
    # Only here: most builds import nothing.
    import trio

    from overlayfs_py.transfer.failing import alone

    try:
        return trio.run(work)
    except BaseExceptionGroup as group:
        raise alone(group) from group
