"""A running container's filesystem, as its monitor has it: mounted, watched, changed in use."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from overlayfs_py.containers import (
    keep_directory,
    mount_door,
    name_files,
    user_namespace,
    volume_filling,
)
from overlayfs_py.containers.event_loop import READABLE
from overlayfs_py.containers.mount_door import MountDoor
from overlayfs_py.containers.recorded_uses import RecordedUses
from overlayfs_py.drivers.mounting import MountPlan
from overlayfs_py.errors import Failure
from overlayfs_py.mounts import children, daemon
from overlayfs_py.store import durable, stacks
from overlayfs_py.store.stacks import Stack
from overlayfs_py.syscalls import mounts

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
        self._door = MountDoor(loop)
        self._uses = RecordedUses(launch.directory, launch.record.trace)
        self._stack = Stack()
        self._daemon: Child | None = None

    def mount(self, names: Names, callers_fds: frozenset[int] = frozenset()) -> None:
        """Mount the union; `names` go into /etc/hosts and its like.

        In a mount namespace of this process's own from now on. The daemon keeps none of
        `callers_fds`.

        Raises:
            OSError: it cannot be mounted.
        """
        launch = self._launch
        user_namespace.part_mounts()
        volume_filling.fill(launch.record, launch.layers, launch.named_volumes)
        self._stack = launch.containers.stack(launch.record)
        launch.containers.settle(launch.record, self._stack)
        stacks.tidy(launch.directory, self._stack)
        kept = self._paths(self._stack)
        like = (*kept, *launch.layers)[0]
        changes = keep_directory.lay_out(os.fsencode(launch.directory), like=like)
        os.makedirs(launch.root, exist_ok=True)
        spec = launch.stack(changes, kept, (self._written_files(names),))
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
        named = known._replace(
            more=record.extra_hosts,
            aliases=record.aliases,
            servers=record.dns,
            domains=record.dns_search,
            options=record.dns_options,
        )
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
        self._go_back(self._stack, first_pid, done)

    def restore(self, tag: str, first_pid: int | None, done: Done) -> None:
        """Have the files be those of a snapshot again, as `reset`.

        Raises:
            NoSuchSnapshot: there is none of that tag.
            OSError: it cannot be done, or not now.
        """
        found = self._stack.snapshot(self._launch.record.name, tag)
        self._go_back(structs.replace(self._stack, layers=found.layers), first_pid, done)

    def _go_back(self, stack: Stack, first_pid: int | None, done: Done) -> None:
        kept = [os.fsencode(self._launch.record.directory)]
        if first_pid is not None:
            kept += mount_door.mount_points(first_pid)
        request: dict[str, object] = {
            "do": "reset",
            "kept": [os.fsdecode(path) for path in kept],
            "layers": [os.fsdecode(path) for path in self._paths(stack)],
        }
        self._change(structs.replace(stack, turned=""), request, done)

    def snapshot(self, tag: str | None, done: Done) -> None:
        """Keep the files as they are, under a tag or for a branch; `done` is called as in `reset`.

        Raises:
            OSError: a snapshot has the tag, it cannot be done, or not now.
        """
        if tag is not None:
            self._stack.require_free(self._launch.record.name, tag)
        name = stacks.new_layer()
        layers = (name, *self._stack.layers)
        stack = structs.replace(self._stack, layers=layers, turned=name)
        if tag is not None:
            stack = stack.with_snapshot(tag)
        self._change(stack, {"do": "snapshot", "name": name}, done)

    def forget(self, tag: str) -> None:
        """Let a snapshot be none.

        Raises:
            NoSuchSnapshot: there is none of that tag.
        """
        self._require_quiet()
        stack = self._stack.without(self._launch.record.name, tag)
        stacks.write(self._launch.directory, stack)
        self._stack = stack

    @property
    def stack(self) -> Stack:
        """What there is above the image."""
        return self._stack

    def _change(self, stack: Stack, request: dict[str, object], done: Done) -> None:
        """Go over to a stack with an upper of its own."""
        self._require_quiet()
        launch, before = self._launch, self._stack
        stack = structs.replace(stack, coming=stacks.new_coming())
        coming = launch.directory / stack.coming
        like = (*self._paths(stack, above=launch.directory / "upper"), *launch.layers)[0]
        place = keep_directory.lay_out(os.fsencode(coming), like=like)
        try:
            stacks.write(launch.directory, stack)
        except OSError:
            durable.remove(coming)
            raise
        self._stack = stack

        def undo() -> None:
            stacks.write(launch.directory, before)
            self._stack = before
            self._door.remove(coming)

        def finish(error: str | None) -> None:
            if self._stack is stack:
                gone = launch.containers.settle(launch.record, stack)
                if gone is not None:
                    self._door.remove(gone)
            done(error)

        upper, work = map(os.fsdecode, place)
        self._door.ask({**request, "upper": upper, "work": work}, finish, undo)

    def _require_quiet(self) -> None:
        name, driver = self._launch.record.name, self._launch.record.driver
        if driver == "pyfuse3":
            raise Failure(f"{name}: with the driver pyfuse3 its files stay as they are")
        if self._door.is_busy:
            raise Failure(f"{name}: another change of the container's files is under way")

    def _paths(self, stack: Stack, above: Path | None = None) -> list[bytes]:
        """Where its layers are, all in their places but for what is turned now."""
        containers = self._launch.containers
        return [
            os.fsencode(
                above if above is not None and name == stack.turned else containers.layer(name)
            )
            for name in stack.layers
        ]

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
