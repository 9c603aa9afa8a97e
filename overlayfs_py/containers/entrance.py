"""The namespaces of a container that runs, opened so that they are certain to be that container's.

A pid in a file may be another process's by now. The monitor is the process at the other end of its
socket, as the kernel says; the container's first process is its child; and a pidfd shows whether
that was still alive after its namespaces had been opened.
"""

from __future__ import annotations

import os
import select
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.containers import cgroup, door, state
from overlayfs_py.containers.state import NotRunning, Status
from overlayfs_py.errors import Failure
from overlayfs_py.syscalls import namespaces

if TYPE_CHECKING:
    from overlayfs_py.store.containers import ContainerRecord

_PEER = struct.Struct("=iII")  # struct ucred
# The mount namespace last: /proc is the host's until then.
_KINDS = {
    "pid": namespaces.CLONE_NEWPID,
    "uts": namespaces.CLONE_NEWUTS,
    "ipc": namespaces.CLONE_NEWIPC,
    "net": namespaces.CLONE_NEWNET,
    "cgroup": namespaces.CLONE_NEWCGROUP,
    "mnt": namespaces.CLONE_NEWNS,
}
_OWN_ALWAYS = ("pid", "mnt")


class Entrance(NamedTuple):
    """Descriptors of namespaces, those that are not this process's own."""

    user: int | None
    others: dict[str, int]
    cgroup: tuple[Path, ...] = ()  # to be entered while the host's files are in sight

    def enter_outside(self) -> None:
        """Take the rights that entering takes; the next child is in the pid namespace."""
        if self.user is not None:
            namespaces.setns(self.user, namespaces.CLONE_NEWUSER)
        namespaces.setns(self.others["pid"], namespaces.CLONE_NEWPID)

    def enter(self) -> None:
        """Enter the rest, in that child; / is the container's afterwards, and its directory."""
        for kind, fd in self.others.items():
            if kind != "pid":
                namespaces.setns(fd, _KINDS[kind])

    def close(self) -> None:
        for fd in (*self.others.values(), *(() if self.user is None else (self.user,))):
            os.close(fd)


def enter_monitor(directory: Path, record: ContainerRecord) -> None:
    """Take this process, which has one thread, to where a running container's monitor is.

    That is the user namespace of the container, and the mount namespace that has its union.

    Raises:
        NotRunning: it does not run.
        Failure: another user has started it, or another pid namespace has its processes.
    """
    with _connected(directory, record) as sock:
        monitor = _monitor_at(sock, record)
        try:
            pidfd = os.pidfd_open(monitor)
        except ProcessLookupError:
            raise NotRunning(record.name) from None
        try:
            user, mount = _open_foreign(monitor, "user"), _open_foreign(monitor, "mnt")
            if _has_ended(pidfd) or mount is None:
                raise NotRunning(record.name)
        except (FileNotFoundError, ProcessLookupError):
            raise NotRunning(record.name) from None
        finally:
            os.close(pidfd)
    if user is not None:
        namespaces.setns(user, namespaces.CLONE_NEWUSER)
        os.close(user)
    namespaces.setns(mount, namespaces.CLONE_NEWNS)
    os.close(mount)


def open_entrance(directory: Path, record: ContainerRecord) -> Entrance:
    """Open the namespaces of the container in `directory`.

    Raises:
        NotRunning: it does not run.
        Failure: it is paused, or restarts, or its processes cannot be seen or entered from here.
    """
    with _connected(directory, record) as sock:
        monitor = _monitor_at(sock, record)
        first = state.read(directory)
        if first.status in (Status.PAUSED, Status.RESTARTING):
            raise Failure(f"{record.name}: the container is {first.status.value}")
        if first.status is not Status.RUNNING:
            raise NotRunning(record.name)
        try:
            opened = _open(record, monitor, first.pid)
        except (FileNotFoundError, ProcessLookupError):
            raise NotRunning(record.name) from None
        return opened._replace(cgroup=cgroup.of(directory))


def _connected(directory: Path, record: ContainerRecord) -> socket.socket:
    try:
        return door.connect(directory)
    except (FileNotFoundError, ConnectionRefusedError):
        raise NotRunning(record.name) from None


def _monitor_at(sock: socket.socket, record: ContainerRecord) -> int:
    size = _PEER.size
    pid, uid, _ = _PEER.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    if pid <= 0:
        raise Failure(f"{record.name}: its processes cannot be seen from this pid namespace")
    if uid != os.geteuid():
        raise Failure(f"{record.name}: another user has started it")
    return int(pid)


def _open(record: ContainerRecord, monitor: int, first: int) -> Entrance:
    pidfd = os.pidfd_open(first)
    try:
        # Between them there is the keeper of a container that an OCI runtime has started.
        if monitor not in (parent := _parent_of(first), _parent_of(parent)):
            raise ProcessLookupError
        # The monitor's: a command may have put itself into one below that.
        user = _open_foreign(monitor, "user")
        opened = {kind: _open_foreign(first, kind) for kind in _KINDS}
        others = {kind: fd for kind, fd in opened.items() if fd is not None}
        entrance = Entrance(user, others)
        if _has_ended(pidfd):
            entrance.close()
            raise ProcessLookupError
    finally:
        os.close(pidfd)
    if any(kind not in others for kind in _OWN_ALWAYS):
        entrance.close()
        raise Failure(f"{record.name}: its first process has none of its own namespaces")
    return entrance


def _open_foreign(pid: int, kind: str) -> int | None:
    """Open a process's namespace; None where it is ours, or this kernel has none of the kind."""
    path = f"/proc/{pid}/ns/{kind}"
    try:
        own = os.stat(f"/proc/self/ns/{kind}")
    except FileNotFoundError:
        return None
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    if os.path.samestat(os.fstat(fd), own):
        os.close(fd)
        return None
    return fd


def _parent_of(pid: int) -> int:
    # The name before it may hold anything.
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return int(fields[1])


def _has_ended(pidfd: int) -> bool:
    ready, _, _ = select.select([pidfd], [], [], 0)
    return bool(ready)
