"""What a driver does beside answering requests: say that it answers, report, leave when told to."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from overlayfs_py.drivers.mounting import Mounted

_LEAVE = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


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
        await trio.to_thread.run_sync(mounted.unmount)
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
