"""The first process of a container: it makes the container its own, then starts the command."""

from __future__ import annotations

import logging
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from overlayfs_py.containers import file_volumes, masks, name_files, process, signals
from overlayfs_py.containers.process import Terminal
from overlayfs_py.containers.system_mounts import SystemMounts, about, enter_root
from overlayfs_py.errors import Failure
from overlayfs_py.mounts import children
from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.syscalls import mounts, namespaces, terminals

if TYPE_CHECKING:
    from collections.abc import Collection

    from overlayfs_py.containers.device_mounts import Device
    from overlayfs_py.containers.process import Process
    from overlayfs_py.containers.rights import Rights
    from overlayfs_py.containers.tmpfs import Tmpfs
    from overlayfs_py.mounts.children import Report
    from overlayfs_py.union.values import Volume

_SYSCTLS = "/proc/sys"
_OOM_SCORE = "/proc/self/oom_score_adj"

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
    tmpfs: tuple[Tmpfs, ...] = ()
    devices: tuple[Device, ...] = ()  # besides those that each has
    ipc: str = "private"  # as records have it
    has_own_name: bool = True
    has_own_cgroups: bool = False
    sysctls: tuple[str, ...] = ()  # NAME=VALUE, of its own namespaces
    oom_score: int = 0
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
    namespaces.unshare(_namespaces(container))
    if container.network_fd is not None:
        namespaces.setns(container.network_fd, namespaces.CLONE_NEWNET)
    if container.has_own_name:
        _name_host(container.hostname)
    _set_values(container)
    names = name_files.prepare(container.scratch)
    files = file_volumes.prepare(container.files)
    limit = enter_root(
        container.root,
        SystemMounts(
            privileged=container.privileged,
            shm_bytes=container.shm_bytes,
            ipc=container.ipc,
            devices=container.devices,
            has_own_network=container.network_fd is not None,
            has_own_cgroups=container.has_own_cgroups,
        ),
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


def _namespaces(container: Container) -> int:
    return (
        namespaces.CLONE_NEWNS
        | (namespaces.CLONE_NEWUTS if container.has_own_name else 0)
        | (namespaces.CLONE_NEWIPC if container.ipc != "host" else 0)
        | (namespaces.CLONE_NEWCGROUP if container.has_own_cgroups else 0)
    )


def _set_values(container: Container) -> None:
    """Set what the kernel keeps for each process or namespace; /proc is the host's still."""
    for text in container.sysctls:
        name, _, value = text.partition("=")
        try:
            Path(_SYSCTLS, name.replace(".", "/")).write_text(value)
        except OSError as error:
            raise Failure(f"--sysctl {text}: {error.strerror}") from error
    if container.oom_score:
        try:
            Path(_OOM_SCORE).write_text(str(container.oom_score))
        except OSError as error:
            raise Failure(f"--oom-score-adj {container.oom_score}: {error.strerror}") from error


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
    for tmpfs in container.tmpfs:
        with about(os.fsdecode(tmpfs.target)):
            tmpfs.mount()
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
