"""One run of a container's command: its processes, and the monitor's ends of its streams."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

from overlayfs_py.containers import cgroup, init
from overlayfs_py.containers.frames import Kind
from overlayfs_py.containers.streams import Ends
from overlayfs_py.errors import Failure
from overlayfs_py.mounts import children
from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.syscalls.processes import fork_in_new_pid_namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from overlayfs_py.containers.init import Container
    from overlayfs_py.containers.launch import Launch
    from overlayfs_py.containers.oci_keeper import Kept
    from overlayfs_py.mounts.children import Child, Report

    # Forks it with these for stdin, stdout and stderr; a terminal's master goes to the socket.
    Fork = Callable[[tuple[int, ...], socket.socket | None], Child]

_STDIO = (0, 1, 2)


class Command(NamedTuple):
    """A command that runs."""

    child: Child  # which ends with it, with its status
    ends: Ends
    kept: Kept | None = None  # where an OCI runtime has started it, below the child

    @property
    def pid(self) -> int:
        """That of the first process of its pid namespace, or of one that has joined it."""
        return self.child.pid if self.kept is None else self.kept.pid

    def kill(self, number: signal.Signals) -> None:
        """Send a signal to that process."""
        if self.kept is None:
            self.child.kill(number)
        else:
            self.kept.kill(number)


class _Wiring(NamedTuple):
    """Pipes between a command and its monitor."""

    theirs: tuple[int, ...]  # what are stdin, stdout and stderr there
    ends: Ends


def start(launch: Launch, mask: set[int], network_fd: int | None) -> Command:
    """Start the command of a container whose union is mounted.

    `network_fd` is its network namespace, None for this process's own.
    This process must have one thread.

    Raises:
        Failure: the container cannot be set up, or the command cannot be run: 126, not there: 127.
    """
    if launch.record.runtime:
        return _start_by_runtime(launch, mask, network_fd)

    def fork(stdio: tuple[int, ...], terminal_to: socket.socket | None) -> Child:
        numbers = _STDIO if terminal_to else ()
        container = launch.container(numbers, terminal_to, network_fd)
        return _fork(container, cgroup.of(launch.directory), mask, stdio)

    return wired(fork, tty=launch.record.tty, has_stdin=launch.record.stdin_open)


def _start_by_runtime(launch: Launch, mask: set[int], network_fd: int | None) -> Command:
    # Only here: most containers do without.
    from overlayfs_py.containers import oci_keeper, oci_launch, oci_runtime

    runtime = oci_runtime.find(launch.record.runtime)
    bundle = oci_launch.bundle_of(launch, network_fd)
    started: list[Kept] = []

    def fork(stdio: tuple[int, ...], terminal_to: socket.socket | None) -> Child:
        started.append(oci_keeper.start(runtime, bundle, mask, stdio, terminal_to))
        return started[0].keeper

    found = wired(fork, tty=launch.record.tty, has_stdin=launch.record.stdin_open)
    return found._replace(kept=started[0])


def wired(fork: Fork, *, tty: bool, has_stdin: bool) -> Command:
    """Start a command with pipes, or a terminal of its own."""
    if tty:
        return _on_terminal(fork)
    wiring = _wire(has_stdin=has_stdin)
    try:
        child = fork(wiring.theirs, None)
    except BaseException:
        _close(wiring.ends)
        raise
    finally:
        for fd in set(wiring.theirs):
            os.close(fd)
    return Command(child, wiring.ends)


def _on_terminal(fork: Fork) -> Command:
    ours, theirs = socket.socketpair()
    null_fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        child = fork((null_fd, null_fd, null_fd), theirs)
        theirs.close()
        _, fds, _, _ = socket.recv_fds(ours, 1, 1)
    finally:
        os.close(null_fd)
        ours.close()
        theirs.close()
    if not fds:
        raise Failure(f"the container ended at once: {children.in_words(child.wait())}")
    return Command(child, Ends({fds[0]: Kind.STDOUT}, fds[0]))


def _wire(*, has_stdin: bool) -> _Wiring:
    stdin, typed = os.pipe() if has_stdin else (os.open(os.devnull, os.O_RDONLY), None)
    shown, stdout = os.pipe()
    complained, stderr = os.pipe()
    ends = Ends({shown: Kind.STDOUT, complained: Kind.STDERR}, typed)
    return _Wiring((stdin, stdout, stderr), ends)


def _close(ends: Ends) -> None:
    for fd in {*ends.outputs, *(() if ends.stdin is None else (ends.stdin,))}:
        os.close(fd)


def _fork(
    container: Container, own_cgroup: Iterable[Path], mask: set[int], stdio: tuple[int, ...]
) -> Child:
    monitor_fd = os.pidfd_open(os.getpid())

    def be_first(report: Report) -> int:
        children.die_with(monitor_fd, signal.SIGKILL)
        cgroup.enter(own_cgroup)
        for number, fd in zip(_STDIO, stdio, strict=True):
            os.dup2(fd, number)
        return init.run(container, mask, report)

    child = children.start(be_first, fork=fork_in_new_pid_namespace)
    os.close(monitor_fd)
    child.word()
    return child
