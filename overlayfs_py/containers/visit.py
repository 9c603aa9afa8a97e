"""A container's filesystem for a process of ours that is not in the container: `cp`.

Plan: where the container runs, the process enters the mount namespace of its monitor, which has the
union, volumes in it; where it does not, it mounts the union itself, and ends with that. Never the
container's own namespaces: what its processes mount means nothing here, no program and no library
of the image is loaded (CVE-2019-14271), and paths are followed by the kernel as inside the root,
whatever the container makes of them meanwhile (CVE-2018-15664). What a start mounts over the union
is mounted here, too: single files, and read-only for what is read-only.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from overlayfs_py.containers import entrance, file_volumes, masks, name_files, user_namespace
from overlayfs_py.containers.launch import Launch
from overlayfs_py.containers.name_files import Names
from overlayfs_py.containers.state import NotRunning
from overlayfs_py.errors import Failure
from overlayfs_py.mounts import children
from overlayfs_py.store.containers import VISITORS, MountKind
from overlayfs_py.store.locks import Mode, acquire
from overlayfs_py.syscalls import mounts, namespaces, rooted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from overlayfs_py.mounts.children import Child, Report
    from overlayfs_py.store.containers import ContainerRecord
    from overlayfs_py.store.store import Store

_START_S = 30.0  # a container that is being started has its mount long before
_LOOK_AGAIN_S = 0.01


def start(
    store: Store, record: ContainerRecord, work: Callable[[int], bytes], fds: tuple[int, ...]
) -> Child:
    """Fork a process that calls `work` with the container's root, and says what that returns.

    The root is for `open_in_root` only. `fds` are the ends of pipes that are `work`'s alone. The
    process ends with this one. To be called while there is one thread.

    Raises:
        NotInStore: a layer of its image has gone.
    """
    layers = store.containers.use_layers(record)
    directory = store.containers.directory(record.id)
    launch = Launch(record, directory, layers.lower, store.containers, store.volumes)

    def visit(report: Report) -> None:
        with _present(store, launch, frozenset(fds)):
            worker = _start_worker(launch, work)
            for fd in fds:
                os.close(fd)
            said = worker.ready()
            worker.wait()
        report.ready(said)

    return _start_dying(visit)


def _start_worker(launch: Launch, work: Callable[[int], bytes]) -> Child:
    """Do it in a process of its own: what that has open, or has mounted, is gone with it."""

    def visit(report: Report) -> None:
        namespaces.unshare(namespaces.CLONE_NEWNS)
        os.umask(0)
        report.ready(work(_shown(launch)))

    return _start_dying(visit)


def _start_dying(work: Callable[[Report], None]) -> Child:
    """Fork a process that the kernel ends with this one."""
    caller_fd = os.pidfd_open(os.getpid())

    def run(report: Report) -> None:
        children.die_with(caller_fd, signal.SIGKILL)
        work(report)

    child = children.start(run)
    os.close(caller_fd)
    return child


@contextmanager
def _present(store: Store, launch: Launch, fds: frozenset[int]) -> Iterator[None]:
    """Be where the union is mounted, as root of the container's user namespace.

    Raises:
        Failure: the container was started elsewhere, and cannot be seen from here.
    """
    record, directory = launch.record, launch.directory
    deadline = time.monotonic() + _START_S
    while True:
        # Others wait meanwhile, a monitor that is about to mount among them.
        with acquire(directory / VISITORS, Mode.EXCLUSIVE):
            if not store.containers.is_running(record):
                with _mounted(launch, fds):
                    yield
                return
        try:
            entrance.enter_monitor(directory, record)
            break
        except NotRunning:  # it starts, or has just ended
            if time.monotonic() >= deadline:
                raise Failure(f"{record.name}: it does not come to answer") from None
            signal.sigtimedwait([], _LOOK_AGAIN_S)
    yield


@contextmanager
def _mounted(launch: Launch, fds: frozenset[int]) -> Iterator[None]:
    from overlayfs_py.containers.event_loop import EventLoop
    from overlayfs_py.containers.filesystem import Filesystem

    if not user_namespace.may_mount():
        user_namespace.enter()
    filesystem = Filesystem(EventLoop(), launch)
    try:
        filesystem.mount(Names(), fds)
        yield
    finally:
        filesystem.close()


def _shown(launch: Launch) -> int:
    """Open the union's root, with what covers it in this mount namespace."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    root_fd = os.open(launch.root, flags)
    for name in name_files.prepare(launch.files):
        _cover(root_fd, name.place, name.clone_fd)
    for volume in file_volumes.prepare(launch.file_volumes()):
        _cover(root_fd, volume.target, volume.clone_fd)
    if launch.record.read_only:
        _forbid_writing(root_fd, launch)
        # Only a descriptor that is opened now obeys the mount's new flags.
    os.close(root_fd)
    return os.open(launch.root, flags)


def _cover(root_fd: int, place: bytes, clone_fd: int) -> None:
    """Mount a file where there is one to be covered; a start makes those that are not."""
    try:
        fd = rooted.open_in_root(root_fd, place, os.O_PATH)
    except OSError:
        os.close(clone_fd)
        return
    mounts.move_mount(clone_fd, fd)
    os.close(fd)
    os.close(clone_fd)


def _forbid_writing(root_fd: int, launch: Launch) -> None:
    for mount in launch.record.mounts:
        if mount.kind is MountKind.TMPFS:
            continue
        fd = rooted.open_in_root(root_fd, os.fsencode(mount.target), os.O_PATH)
        place = b"/proc/self/fd/%d" % fd
        mounts.mount(place, place, None, mounts.MS_BIND | mounts.MS_REC)
        os.close(fd)
    kept = os.statvfs(launch.root).f_flag & masks.KEPT_FLAGS
    flags = mounts.MS_REMOUNT | mounts.MS_BIND | mounts.MS_RDONLY | kept
    mounts.mount(None, launch.root, None, flags)
