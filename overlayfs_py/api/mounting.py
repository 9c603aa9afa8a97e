"""An image as a directory, for as long as a `with` block runs."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from overlayfs_py.drivers.mounting import MountPlan
from overlayfs_py.mounts import daemon
from overlayfs_py.mounts.scratch import scratch_directory
from overlayfs_py.mounts.stored_stack import stack_of
from overlayfs_py.mounts.uppers import throwaway_upper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from overlayfs_py.mounts.children import Child
    from overlayfs_py.store.store import Store
    from overlayfs_py.union.values import StackSpec


@contextmanager
def mounted(
    store: Store, name: str, *, writable: bool = False, driver: str = "auto"
) -> Iterator[Path]:
    """Give the root directory of an image, mounted at a temporary place.

    A process is forked that serves the mount, and ends with the block, or with the caller, however
    that ends. With `writable` changes are possible, and thrown away at the end. The image cannot
    be deleted meanwhile. Set-user-ID bits and devices have no effect.

    To be called while the process has one thread, as fork(2) asks for; those that `pull` leaves for
    some seconds do no harm. Root is needed, or fusermount3, which lets an ordinary user mount.

    Raises:
        OverlayError: there is no such image, or it cannot be mounted.
    """
    callers_fds = daemon.open_descriptors()
    _, layers = store.use_image(name)
    with layers, scratch_directory(os.fsencode(tempfile.gettempdir())) as scratch:
        target = os.path.join(scratch, b"root")
        os.mkdir(target)
        spec = stack_of(layers.lower)
        if writable:
            spec = throwaway_upper(spec, scratch)
        plan = MountPlan(target, source=name, suid=False, dev=False)
        server = _start(spec, plan, driver, callers_fds)
        try:
            server.ready()
            yield Path(os.fsdecode(target))
        finally:
            server.stop()


def _start(spec: StackSpec, plan: MountPlan, driver: str, callers_fds: frozenset[int]) -> Child:
    def serve(on_ready: Callable[[], None]) -> None:
        # Only here: the caller need not load what serves a mount.
        from overlayfs_py.drivers import service

        service.serve(spec, plan, driver=driver, on_ready=on_ready)

    return daemon.start(serve, daemon.Until.CALLER_ENDS, callers_fds, keep_stderr=True)
