"""An image as a directory, for as long as a `with` block runs."""

from __future__ import annotations

import os
import signal
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from overlayfs_py.containers import children
from overlayfs_py.containers.scratch import scratch_directory
from overlayfs_py.containers.uppers import throwaway_upper
from overlayfs_py.drivers.mounting import MountPlan
from overlayfs_py.union.values import StackSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.containers.children import Child, Report
    from overlayfs_py.store.store import Store


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
        OverlayError: there is no such image.
        Failure: it cannot be mounted.
    """
    _, layers = store.use_image(name)
    with layers, scratch_directory(os.fsencode(tempfile.gettempdir())) as scratch:
        target = os.path.join(scratch, b"root")
        os.mkdir(target)
        spec = StackSpec(layers.lower)
        if writable:
            spec = throwaway_upper(spec, scratch)
        plan = MountPlan(target, source=name, suid=False, dev=False)
        daemon = _start(spec, plan, driver)
        try:
            daemon.ready()
            yield Path(os.fsdecode(target))
        finally:
            daemon.kill(signal.SIGTERM)
            daemon.wait()


def _start(spec: StackSpec, plan: MountPlan, driver: str) -> Child:
    caller_fd = os.pidfd_open(os.getpid())

    def serve(report: Report) -> None:
        children.die_with(caller_fd, signal.SIGTERM)
        os.setsid()  # ^C is for the caller, which then leaves the block
        # Only here: the caller need not load what serves a mount.
        from overlayfs_py.drivers import service

        def on_ready() -> None:
            with suppress(BrokenPipeError):  # nobody to hear it: a signal says so
                report.ready()

        service.serve(spec, plan, driver=driver, on_ready=on_ready)

    daemon = children.start(serve)
    os.close(caller_fd)
    return daemon
