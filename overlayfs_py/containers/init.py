"""The first process of a container: it makes the container its own, then starts the command."""

from __future__ import annotations

import logging
import os
import socket
import sys
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.containers import file_volumes, masks, name_files, process, signals
from overlayfs_py.containers.process import Terminal
from overlayfs_py.containers.system_mounts import about, enter_root
from overlayfs_py.mounts import children
from overlayfs_py.syscalls import mounts, namespaces, terminals

if TYPE_CHECKING:
    from collections.abc import Collection

    from overlayfs_py.containers.process import Process
    from overlayfs_py.containers.rights import Rights
    from overlayfs_py.mounts.children import Report
    from overlayfs_py.union.values import Volume

_NAMESPACES = namespaces.CLONE_NEWNS | namespaces.CLONE_NEWUTS | namespaces.CLONE_NEWIPC

log = logging.getLogger(__name__)


class Container(NamedTuple):
    """What the first process makes of itself."""

    root: bytes  # where the union is mounted
    scratch: bytes  # where `name_files` has written
    process: Process
    hostname: str
    rights: Rights
    privileged: bool = False  # whether /proc, /sys and devices are as on the host
    shm_bytes: int = 0  # what /dev/shm may hold; 0: half of the memory
    read_only: bool = False
    volumes: tuple[bytes, ...] = ()  # places in the union that `read_only` leaves as they are
    files: tuple[Volume, ...] = ()  # of the host, each over one of the union
    tmpfs: tuple[bytes, ...] = ()  # places that a tmpfs covers
    is_first: bool = False  # whether the command itself is the first process
    terminal_for: Collection[int] = ()  # of its stdin, stdout, stderr
    terminal_to: socket.socket | None = None  # gets the master
    network_fd: int | None = None  # a network namespace to enter; None: the caller's own


def run(container: Container, mask: set[int], report: Report) -> int:
    """Start the command and return its status; to be called in a new pid namespace.

    `mask` is the command's signal mask, which `signals.block` has returned.

    Raises:
        Failure: the container cannot be set up.
    """
    os.setsid()  # what a terminal sends comes from the supervisor, once
    namespaces.unshare(_NAMESPACES)
    if container.network_fd is not None:
        namespaces.setns(container.network_fd, namespaces.CLONE_NEWNET)
    _name_host(container.hostname)
    names = name_files.prepare(container.scratch)
    files = file_volumes.prepare(container.files)
    limit = enter_root(
        container.root,
        privileged=container.privileged,
        shm_bytes=container.shm_bytes,
        has_own_network=container.network_fd is not None,
    )
    if limit is not None:
        log.warning("%s", limit)
    for file in names:
        with about(os.fsdecode(file.place)):
            file.show()
    for volume in files:
        with about(os.fsdecode(volume.target)):
            volume.show()
    _cover(container)
    terminal = _terminal(container)
    _forget_host(report, terminal)
    account = container.process.account()
    container.process.directory.enter()
    container.rights.take()
    if container.is_first:
        process.become(container.process, container.rights, account, terminal, mask, report)
    pid = process.fork(container.process, container.rights, account, terminal, mask, report)
    container.rights.confine()
    report.close()
    return signals.run_init(pid)


def _name_host(name: str) -> None:
    try:
        socket.sethostname(name)
    except PermissionError:
        # The namespace is ours; a seccomp filter, as podman's and docker's around a container
        # without CAP_SYS_ADMIN, forbids the call.
        log.warning("host name: the one around the container, since a filter forbids another")


def _terminal(container: Container) -> Terminal | None:
    """Open the container's own terminal, and give the supervisor its other end."""
    if container.terminal_to is None:
        return None
    pair = terminals.open_pair("/dev/pts")
    socket.send_fds(container.terminal_to, [b"m"], [pair.master])
    os.close(pair.master)
    _give_size(container.terminal_for, pair.slave)
    terminal = Terminal(pair.slave, container.terminal_for)
    # Here too: /proc/1/fd would lead to the user's.
    terminal.take()
    return terminal


def _give_size(candidates: Collection[int], slave: int) -> None:
    """Let the terminal be as large as the user's from the beginning."""
    for number in candidates:
        if os.isatty(number):
            terminals.copy_size(number, slave)
            return


def _cover(container: Container) -> None:
    """Mount what lies over the union; / is the container's, and links lead nowhere else."""
    for path in container.tmpfs:
        with about(os.fsdecode(path)):
            os.makedirs(path, 0o755, exist_ok=True)
            mounts.mount(b"tmpfs", path, b"tmpfs", masks.QUIET, b"mode=1777")
    if container.read_only:
        for path in container.volumes:
            mounts.mount(path, path, None, mounts.MS_BIND | mounts.MS_REC)
        kept = os.statvfs("/").f_flag & masks.KEPT_FLAGS
        flags = mounts.MS_REMOUNT | mounts.MS_BIND | mounts.MS_RDONLY | kept
        mounts.mount(None, b"/", None, flags)


def _forget_host(report: Report, terminal: Terminal | None) -> None:
    """Close what leads out of the container, and load no module from inside it."""
    assert report.fd is not None
    children.close_all_but(report.fd, *(() if terminal is None else (terminal.slave,)))
    sys.path.clear()
