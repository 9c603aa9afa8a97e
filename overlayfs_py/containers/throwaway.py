"""Run a command on a stack of layers with an upper that is thrown away.

Plan: the caller's process becomes the supervisor and moves into a mount namespace of its own (and
a user namespace where it is not root). There it forks

- the keeper, just before that, which owns the scratch directory (scratch.py),
- the daemon, which serves the union on a mount that nobody outside can see,
- init, the first process of a pid namespace, which enters the mount and starts the command.

When the supervisor dies, the kernel kills init, and with it all that the command started; the
daemon unmounts and ends; the keeper sees that and removes the scratch directory. No step of that
needs the supervisor, so kill -9 ends like ^C.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from overlayfs_py.containers import (
    capabilities,
    file_volumes,
    init,
    keep_directory,
    name_files,
    signals,
    user_namespace,
)
from overlayfs_py.containers.init import Container
from overlayfs_py.containers.relay import Relay
from overlayfs_py.containers.rights import Rights
from overlayfs_py.containers.supervision import supervise
from overlayfs_py.containers.users_terminal import UsersTerminal
from overlayfs_py.drivers.mounting import MountPlan
from overlayfs_py.mounts import children, daemon
from overlayfs_py.mounts.scratch import scratch_directory
from overlayfs_py.mounts.stored_stack import stack_of
from overlayfs_py.syscalls import namespaces

if TYPE_CHECKING:
    from collections.abc import Callable

    from overlayfs_py.containers.keep_directory import UpperPlace
    from overlayfs_py.containers.process import Process
    from overlayfs_py.containers.tmpfs import Tmpfs
    from overlayfs_py.mounts.children import Child, Report
    from overlayfs_py.union.values import Volume


class Run(msgspec.Struct, frozen=True):
    """A command and where to run it. Host paths are bytes."""

    layers: tuple[bytes, ...]  # topmost first
    process: Process
    temporary: bytes  # where the scratch directory is made
    hostname: str
    volumes: tuple[Volume, ...] = ()
    keep: bytes | None = None  # a directory whose `upper` and `work` are used and stay
    driver: str = "auto"
    callers_fds: frozenset[int] = frozenset()  # open before the layers were; not the daemon's
    terminal: bool = False  # even where stdin, stdout and stderr are none
    privileged: bool = False
    read_only: bool = False
    tmpfs: tuple[Tmpfs, ...] = ()
    upper_limit: int | None = None  # bytes


class _Places(NamedTuple):
    changes: UpperPlace
    scratch: bytes
    bottom: bytes  # a layer below all others
    root: bytes  # where the union is mounted, in our mount namespace only


def run(asked: Run) -> int:
    """Run the command and return its exit status, 128 + n if signal n ended it.

    The calling process must have one thread. It is changed for good (namespaces, signal mask) and
    should exit.

    Raises:
        Failure: something else than the command failed; nothing is left behind.
        OSError: likewise, with the path it is about.
    """
    terminal = UsersTerminal.find(always=asked.terminal)
    if not user_namespace.may_mount():
        user_namespace.enter()
    with scratch_directory(asked.temporary, terminal) as scratch:
        places = _lay_out(asked, scratch)
        user_namespace.part_mounts()
        server = _start_daemon(asked, places, terminal)
        try:
            server.ready()
            return _run_command(asked, places, server, terminal)
        finally:
            server.stop()


def _lay_out(asked: Run, scratch: bytes) -> _Places:
    home = asked.keep if asked.keep is not None else scratch
    changes = keep_directory.lay_out(home, like=asked.layers[0])
    root = os.path.join(scratch, b"root")
    os.mkdir(root)
    return _Places(changes, scratch, name_files.write(scratch, asked.hostname), root)


def _start_daemon(asked: Run, places: _Places, terminal: UsersTerminal | None) -> Child:
    spec = stack_of((*asked.layers, places.bottom))._replace(
        upper=places.changes.upper,
        work=places.changes.work,
        volumes=file_volumes.part(asked.volumes).directories,
        volatile=asked.keep is None,
        # The kernel reads an upper with metacopies only if it is told to: not one that is kept.
        metacopy=asked.keep is None,
        upper_limit=asked.upper_limit,
    )
    # A device in there is none: there is no other guard against one of the host's disks.
    plan = MountPlan(places.root, dev=asked.privileged, shares_upper=False)
    terminals_fds = frozenset() if terminal is None else terminal.needed_fds

    def serve(on_ready: Callable[[], None]) -> None:
        # Only here: trio and pyfuse3 take longer to load than everything before.
        from overlayfs_py.drivers import service

        service.serve(spec, plan, driver=asked.driver, on_ready=on_ready)

    callers_fds = asked.callers_fds | terminals_fds
    return daemon.start(serve, daemon.Until.CALLER_ENDS, callers_fds, keep_stderr=True)


def _run_command(asked: Run, places: _Places, server: Child, terminal: UsersTerminal | None) -> int:
    mask = signals.block()
    supervisor_fd = os.pidfd_open(os.getpid())
    namespaces.unshare(namespaces.CLONE_NEWPID)
    ours, inits = socket.socketpair() if terminal is not None else (None, None)
    container = Container(
        places.root,
        places.scratch,
        asked.process,
        asked.hostname,
        Rights() if asked.privileged else Rights(capabilities.kept((), ())),
        privileged=asked.privileged,
        read_only=asked.read_only,
        volumes=tuple(volume.target for volume in file_volumes.part(asked.volumes).directories),
        files=file_volumes.part(asked.volumes).files,
        tmpfs=asked.tmpfs,
        terminal_for=() if terminal is None else terminal.numbers,
        terminal_to=inits,
    )

    def be_init(report: Report) -> int:
        children.die_with(supervisor_fd, signal.SIGKILL)
        return init.run(container, mask, report)

    child = children.start(be_init)
    os.close(supervisor_fd)
    if inits is not None:
        inits.close()
    child.word()
    master = None if ours is None else _received(ours)
    if terminal is None or master is None:
        return supervise(child, server, None)
    relay = Relay(terminal, master)
    try:
        return supervise(child, server, relay)
    finally:
        relay.close()


def _received(ours: socket.socket) -> int | None:
    """The master of the container's terminal; None where init was killed before it sent it."""
    with ours:
        _, fds, _, _ = socket.recv_fds(ours, 1, 1)
    return fds[0] if fds else None
