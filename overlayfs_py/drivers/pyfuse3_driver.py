"""Serve a union through libfuse, by pyfuse3, on a mount of our own."""

from __future__ import annotations

import logging
import os
from contextlib import closing
from typing import TYPE_CHECKING

import pyfuse3
import trio

from overlayfs_py.drivers import pyfuse3_complaints, pyfuse3_wakeups
from overlayfs_py.drivers.pyfuse3_offer import Offer
from overlayfs_py.drivers.pyfuse3_operations import UnionOperations
from overlayfs_py.drivers.supervision import announce, unmount_on_signal

if TYPE_CHECKING:
    from collections.abc import Callable

    from overlayfs_py.drivers.mounting import Mounted
    from overlayfs_py.union.core import Union

log = logging.getLogger(__name__)


def run(union: Union, mounted: Mounted, on_ready: Callable[[], None]) -> None:
    """Answer requests until the mount is gone or a signal says so; closes `mounted.fd`."""
    try:
        offer = Offer(mounted.fd)
    except BaseException:
        os.close(mounted.fd)
        raise
    operations = UnionOperations(union, offer.taken, leaves_umask=mounted.leaves_umask)
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
        trio.run(_Session(mounted).serve, on_ready)


class _Session:
    """pyfuse3's session, of which a process has one; it must not be touched once closed."""

    def __init__(self, mounted: Mounted) -> None:
        self._mounted = mounted
        self._is_open = True

    async def serve(self, on_ready: Callable[[], None]) -> None:
        async with trio.open_nursery() as nursery:
            try:
                await nursery.start(unmount_on_signal, self._mounted, self._terminate)
                nursery.start_soon(announce, self._mounted, on_ready)
                await pyfuse3.main()
            finally:
                # Before the nursery waits for the others: their threads may be waiting for an
                # answer, and closing the descriptor is what gives them one.
                self._close()
            nursery.cancel_scope.cancel()

    def _terminate(self) -> None:
        if self._is_open:
            pyfuse3.terminate()

    def _close(self) -> None:
        self._is_open = False
        pyfuse3.close(unmount=False)
