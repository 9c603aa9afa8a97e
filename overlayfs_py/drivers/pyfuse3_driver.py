"""Serve a union through libfuse, by pyfuse3, on a mount of our own."""

from __future__ import annotations

import logging
import os
import select
import signal
from contextlib import closing
from typing import TYPE_CHECKING

import pyfuse3
import trio

from overlayfs_py.drivers import inquiries, pyfuse3_complaints, pyfuse3_wakeups
from overlayfs_py.drivers.pyfuse3_offer import Offer
from overlayfs_py.drivers.pyfuse3_operations import UnionOperations
from overlayfs_py.drivers.supervision import announce, unmount_on_signal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from overlayfs_py.drivers.mounting import Mounted
    from overlayfs_py.union.core import Union

_LOOK_AGAIN_S = 0.2
_PATIENCE_S = 2.0  # guess: for the volumes that do answer, if late
# Guess: each request that waits takes one; so many may wait for slow volumes before they stop the
# others.
_MOST_TASKS = 1000

log = logging.getLogger(__name__)


def run(
    union: Union, mounted: Mounted, on_ready: Callable[[], None], noted: Collection[int]
) -> None:
    """Answer requests until the mount is gone or a signal says so; closes `mounted.fd`.

    Signals in `noted` have come already, or come before they can be heard.
    """
    try:
        offer = Offer(mounted.fd, foreign_changes=union.has_volumes)
    except BaseException:
        os.close(mounted.fd)
        raise
    has_lanes = bool(union.slow_volumes())
    mounted.uses.exact = False  # libfuse asks for READDIRPLUS in any case
    operations = _operations_of(union)(
        union, offer.taken, mounted.uses, leaves_umask=mounted.leaves_umask
    )
    if log.isEnabledFor(logging.DEBUG):
        from overlayfs_py.drivers.pyfuse3_trace import trace

        trace(operations)
    # libfuse takes /dev/fd/N for a descriptor that somebody has mounted already
    # (lib/mount_util.c, fuse_mnt_parse_fuse_fd), and closes it with the session.
    options = {"allow_root"} if mounted.denies_others else set[str]()
    try:
        pyfuse3.init(operations, f"/dev/fd/{mounted.fd}", options)
    except BaseException:
        os.close(mounted.fd)
        offer.close()
        raise
    with (
        closing(offer),
        pyfuse3_complaints.of_what_matters(),
        pyfuse3_wakeups.possible(),
    ):
        trio.run(_Session(mounted, has_lanes=has_lanes).serve, on_ready, noted)


def _operations_of(union: Union) -> type[UnionOperations]:
    if not union.slow_volumes():
        return UnionOperations
    from overlayfs_py.drivers.pyfuse3_lanes import LanedOperations

    return LanedOperations


class _Session:
    """pyfuse3's session, of which a process has one; it must not be touched once closed."""

    def __init__(self, mounted: Mounted, *, has_lanes: bool) -> None:
        self._mounted = mounted
        self._has_lanes = has_lanes
        self._is_leaving = False
        self._loop = trio.CancelScope()
        self._is_open = True

    async def serve(self, on_ready: Callable[[], None], noted: Collection[int]) -> None:
        async with trio.open_nursery() as nursery:
            try:
                await nursery.start(unmount_on_signal, self._mounted, self._terminate)
                for number in noted:
                    signal.raise_signal(number)
                nursery.start_soon(announce, self._mounted, on_ready)
                nursery.start_soon(inquiries.heed, self._mounted, None, lambda _: None)
                if self._has_lanes:
                    nursery.start_soon(self._leave_lanes)
                with self._loop:
                    await pyfuse3.main(max_tasks=_MOST_TASKS if self._has_lanes else 99)
            finally:
                # Before the nursery waits for the others: their threads may be waiting for an
                # answer, and closing the descriptor is what gives them one.
                self._close()
            nursery.cancel_scope.cancel()

    async def _leave_lanes(self) -> None:
        """Once the mount is gone, do not wait for ever for what slow volumes may answer."""
        poll = select.poll()
        poll.register(self._mounted.fd, 0)
        # POLLERR alone: before INIT is taken a pipe stands there, whose writer is gone (`Offer`).
        while not self._is_leaving and not any(  # noqa: ASYNC110 - nothing tells of it
            events & select.POLLERR for _, events in poll.poll(0)
        ):
            await trio.sleep(_LOOK_AGAIN_S)
        await trio.sleep(_PATIENCE_S)
        self._loop.cancel()

    def _terminate(self) -> None:
        self._is_leaving = True
        if self._is_open:
            pyfuse3.terminate()

    def _close(self) -> None:
        self._is_open = False
        pyfuse3.close(unmount=False)
