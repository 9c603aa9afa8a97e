"""The process between a container's monitor and what an OCI runtime has started.

It is the first one of a pid namespace, in which the runtime starts the container's own: what the
runtime leaves behind becomes its child, and when the monitor ends, however that happens, the kernel
ends it and with it all of the namespace. It ends with the status of the container's first process.
The runtime is not asked to delete the container: what it notes is the bundle's, and its cgroups are
removed as ours are.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.containers import cgroup, processes, user_namespace
from overlayfs_py.errors import Failure
from overlayfs_py.mounts import children
from overlayfs_py.store import durable
from overlayfs_py.syscalls import mounts
from overlayfs_py.syscalls.processes import fork_in_new_pid_namespace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from overlayfs_py.containers.oci_runtime import Runtime
    from overlayfs_py.mounts.children import Child, Report

_CONFIG, _CONSOLE, _PID = "config.json", "console", "pid"
_NAME = "container"  # as the runtime is told; its notes are this bundle's alone
_UNIFIED = b"/sys/fs/cgroup/unified"
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


class Kept(NamedTuple):
    """A container that a runtime has started."""

    keeper: Child
    pid: int  # of its first process

    def kill(self, number: signal.Signals) -> None:
        """Send a signal to that process, which only the keeper reaps: not to another."""
        try:
            pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if processes.is_child_of(self.pid, self.keeper.pid):
                signal.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            return
        finally:
            os.close(pidfd)


class Bundle(NamedTuple):
    """What the runtime is to start."""

    directory: Path
    config: Mapping[str, object]
    program: str  # as errors call it
    cgroup: tuple[Path, ...]  # to be in
    makes_cgroups: bool  # whether the runtime does, below those
    network_fd: int | None

    def write(self) -> None:
        """Make the directory anew, with nothing else in it."""
        if os.path.lexists(self.directory):
            durable.remove(self.directory)
        self.directory.mkdir(mode=0o700)
        (self.directory / _CONFIG).write_text(json.dumps(self.config))


def start(
    runtime: Runtime,
    bundle: Bundle,
    mask: set[int],
    stdio: tuple[int, ...],
    terminal_to: socket.socket | None,
) -> Kept:
    """Start a container; its terminal's master goes to `terminal_to`.

    Raises:
        Failure: the runtime has not started it; 126 and 127 as for any command.
    """
    bundle.write()
    monitor_fd = os.pidfd_open(os.getpid())

    def work(report: Report) -> int:
        children.die_with(monitor_fd, signal.SIGKILL)
        return _Keeper(runtime, bundle, mask, report).run(stdio, terminal_to)

    keeper = children.start(work, fork=fork_in_new_pid_namespace)
    os.close(monitor_fd)
    keeper.ready()
    try:
        return Kept(keeper, processes.only_child_of(keeper.pid))
    except ProcessLookupError:  # it has ended already
        return Kept(keeper, keeper.pid)


class _Keeper:
    def __init__(self, runtime: Runtime, bundle: Bundle, mask: set[int], report: Report) -> None:
        self._runtime = runtime
        self._bundle = bundle
        self._mask = mask
        self._report = report

    def run(self, stdio: tuple[int, ...], terminal_to: socket.socket | None) -> int:
        os.setsid()
        if not self._bundle.makes_cgroups:
            cgroup.enter(self._bundle.cgroup)
        self._part()
        os.chdir(self._bundle.directory)
        self._close_all_but(*stdio, *(() if terminal_to is None else (terminal_to.fileno(),)))
        listener = None if terminal_to is None else _listener()
        console = () if listener is None else ("--console-socket", _CONSOLE)
        words = ("create", "--bundle", ".", "--pid-file", _PID, *console, _NAME)
        self._ask(words, stdio)
        if listener is not None and terminal_to is not None:
            _pass_on_terminal(listener, terminal_to)
        children.take_null_stdio()
        self._close_all_but()
        first = int(Path(_PID).read_text())
        self._ask(("start", _NAME), (0, 1, 2))
        self._report.ready()
        os.chdir("/")
        return _status_of(first)

    def _part(self) -> None:
        """Show this namespace's processes, and no cgroups twice: crun takes that for a mistake."""
        user_namespace.part_mounts()
        try:
            mounts.mount(b"proc", b"/proc", b"proc", mounts.MS_NOSUID | mounts.MS_NODEV)
        except PermissionError as error:
            raise Failure(
                f"--runtime {self._runtime.name}: the kernel allows no new /proc where part of it"
                " is masked, as in a container (podman run --security-opt unmask=ALL unmasks it)"
            ) from error
        if os.path.ismount(_UNIFIED):
            try:
                mounts.umount(_UNIFIED, mounts.MNT_DETACH)
            except OSError:  # of the namespace around
                mounts.mount(b"tmpfs", _UNIFIED, b"tmpfs", mounts.MS_RDONLY)

    def _close_all_but(self, *kept: int) -> None:
        assert self._report.fd is not None
        network = () if self._bundle.network_fd is None else (self._bundle.network_fd,)
        children.close_all_but(*{self._report.fd, *network, *kept})

    def _ask(self, words: tuple[str, ...], stdio: tuple[int, ...]) -> None:
        """Have the runtime do something; it inherits nothing but `stdio`."""
        argv = self._runtime.argv(*words, makes_cgroups=self._bundle.makes_cgroups)
        actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(stdio)]
        pid = os.posix_spawn(
            self._runtime.path,
            argv,
            _ENVIRONMENT,
            file_actions=actions,
            setsigmask=self._mask,
            setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
        )
        _, status = os.waitpid(pid, 0)
        if status:
            raise self._runtime.failure(Path(), self._bundle.program)


def _listener() -> socket.socket:
    # By its name alone: sun_path holds 108 bytes, a store's path may be longer.
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(_CONSOLE)
    sock.listen(1)
    return sock


def _pass_on_terminal(listener: socket.socket, to: socket.socket) -> None:
    with listener, listener.accept()[0] as connection:
        _, fds, _, _ = socket.recv_fds(connection, 1 << 12, 1)
    socket.send_fds(to, [b"m"], fds)
    for fd in fds:
        os.close(fd)


def _status_of(first: int) -> int:
    """Reap what the namespace leaves until its first process ends."""
    while True:
        pid, status = os.wait()
        if pid == first:
            return children.shell_status(status)
