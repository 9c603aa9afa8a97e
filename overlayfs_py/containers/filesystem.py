"""A running container's filesystem, as its monitor has it: mounted, watched, changed in use."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from overlayfs_py.containers import keep_directory, mount_door, name_files, volume_filling
from overlayfs_py.containers.event_loop import READABLE
from overlayfs_py.containers.mount_door import MountDoor
from overlayfs_py.containers.recorded_uses import RecordedUses
from overlayfs_py.drivers.mounting import MountPlan
from overlayfs_py.errors import Failure
from overlayfs_py.mounts import children, daemon
from overlayfs_py.store import durable
from overlayfs_py.syscalls import mounts, namespaces

if TYPE_CHECKING:
    from collections.abc import Callable

    from overlayfs_py.containers.event_loop import EventLoop
    from overlayfs_py.containers.launch import Launch
    from overlayfs_py.containers.mount_door import Done
    from overlayfs_py.containers.name_files import Names
    from overlayfs_py.mounts.children import Child


_LAST_WORDS_S = 5.0  # for a daemon whose mount has gone


class Filesystem:
    """A daemon of its own that serves the union, and ends with the monitor."""

    def __init__(self, loop: EventLoop, launch: Launch) -> None:
        self._loop = loop
        self._launch = launch
        self._door = MountDoor(loop, launch.directory, launch.layers[0])
        self._uses = RecordedUses(launch.directory, launch.record.trace)
        self._daemon: Child | None = None

    def mount(self, names: Names, callers_fds: frozenset[int] = frozenset()) -> None:
        """Mount the union; `names` go into /etc/hosts and its like.

        In a mount namespace of this process's own from now on. The daemon keeps none of
        `callers_fds`.

        Raises:
            OSError: it cannot be mounted.
        """
        launch = self._launch
        namespaces.unshare(namespaces.CLONE_NEWNS)
        # Ours are not seen outside, and what is unmounted outside goes away here.
        mounts.mount(None, b"/", None, mounts.MS_REC | mounts.MS_SLAVE)
        volume_filling.fill(launch.record, launch.layers, launch.named_volumes)
        mount_door.remove_leftovers(launch.directory)
        changes = keep_directory.lay_out(os.fsencode(launch.directory), like=launch.layers[0])
        os.makedirs(launch.root, exist_ok=True)
        spec = launch.stack(changes, self._written_files(names))
        plan = MountPlan(
            launch.root,
            dev=launch.record.privileged,
            shares_upper=False,
            exact_uses=bool(launch.record.trace),
        )
        self._uses.open()

        def serve(on_ready: Callable[[], None]) -> None:
            # Only here: the monitor need not load what serves a mount.
            from overlayfs_py.drivers import service

            served = self._uses.give(plan._replace(door_fd=self._door.give()))
            service.serve(spec, served, driver=launch.record.driver, on_ready=on_ready)

        server = daemon.start(serve, daemon.Until.CALLER_ENDS, callers_fds)
        self._door.take()
        self._uses.take()
        server.ready()
        self._daemon = server

    def _written_files(self, known: Names) -> bytes:
        """Write /etc/hosts and its like, as the host has them now; returns the layer for them."""
        files, record = self._launch.files, self._launch.record
        if os.path.lexists(files):
            durable.remove(Path(os.fsdecode(files)))
        os.mkdir(files, 0o755)
        named = known._replace(more=record.extra_hosts, servers=record.dns)
        return name_files.write(files, record.hostname, named)

    def watch(self, on_loss: Callable[[str], None]) -> None:
        """Have `on_loss` called with the reason when the daemon ends."""
        assert self._daemon is not None
        server = self._daemon
        fd = os.pidfd_open(server.pid)

        def ended() -> None:
            self._loop.forget(fd)
            os.close(fd)
            how = children.in_words(server.wait())
            on_loss(f"the daemon of the filesystem ended: {how}")

        self._loop.watch(fd, READABLE, ended)

    def reset(self, first_pid: int | None, done: Done) -> None:
        """Have the files be the image's again; `done` is called later with what went wrong.

        What the process `first_pid` has mounted, and the working directory, stay.

        Raises:
            OSError: it cannot be done, or not now.
        """
        record = self._launch.record
        if record.driver == "pyfuse3":
            raise Failure(f"{record.name}: with the driver pyfuse3 nothing can be reset")
        kept = [os.fsencode(record.directory)]
        if first_pid is not None:
            kept += mount_door.mount_points(first_pid)
        self._door.reset(kept, done)

    def settle(self) -> None:
        """Wait for the change that is under way: the next start has to find what was written."""
        self._door.wait()

    def close(self) -> None:
        """Unmount it, mounted or not."""
        self._door.close()
        self._end_daemon()
        self._uses.close()

    def _end_daemon(self) -> None:
        if self._daemon is None:
            return
        # The kernel tells the daemon, which may not have loaded yet what heeds a signal. What is
        # busy it ends itself.
        with suppress(OSError):
            mounts.umount(self._launch.root)
            if self._daemon.ends_within(_LAST_WORDS_S):
                return
        self._daemon.stop()
