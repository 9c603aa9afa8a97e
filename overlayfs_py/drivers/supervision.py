"""What a driver does beside answering requests: say that it answers, report, leave when told to."""

from __future__ import annotations

import os
import select
import signal
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from overlayfs_py.drivers.mounting import Mounted

_LEAVE = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# Guesses: the first is less than anybody gives a daemon between SIGTERM and SIGKILL.
_PATIENCE_S = 5.0
_LOOK_AGAIN_S = 0.005


async def announce(mounted: Mounted, on_ready: Callable[[], None]) -> None:
    """Call `on_ready` once a statfs(2) of the mount has been answered.

    In a thread, `on_ready` too: it may use the mount, which this thread must then serve.
    """

    def probe() -> None:
        os.statvfs(mounted.target)
        mounted.raise_read_ahead()
        on_ready()

    await trio.to_thread.run_sync(probe)


async def report_on_signal(
    report: Callable[[], None],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Call `report` at every SIGUSR1, which would otherwise end the process."""
    with trio.open_signal_receiver(signal.SIGUSR1) as signals:
        task_status.started()
        async for _ in signals:
            report()


async def unmount_on_signal(
    mounted: Mounted,
    stop: Callable[[], None],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Unmount and then call `stop` at the first SIGTERM, SIGINT or SIGHUP; swallow later ones.

    Requests are still answered meanwhile: unmounting writes back what is dirty.
    """

    async def leave() -> None:
        if await trio.to_thread.run_sync(mounted.unmount):
            await _answered_all(mounted.fd)
        stop()

    with trio.open_signal_receiver(*_LEAVE) as signals:
        task_status.started()
        await anext(signals)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave)
            # Whoever ends a session sends several. One that waits here when the receiver closes
            # would be delivered again, and kill the daemon in the middle of its leaving.
            async for _ in signals:
                pass


async def _answered_all(device_fd: int) -> None:
    """Wait until the kernel has nothing more to ask: what is dirty in a mapping has arrived.

    Not for ever, since whoever still has a file open there may go on asking.
    """
    poll = select.poll()
    poll.register(device_fd, select.POLLIN)
    with trio.move_on_after(_PATIENCE_S):
        # Whoever runs here finds all answered that was read. The kernel queues more at each answer
        # (fs/fuse/dev.c, flush_bg_queue), so that an empty queue is the end.
        while poll.poll(0):  # noqa: ASYNC110 - the kernel sets no event
            await trio.sleep(_LOOK_AGAIN_S)
