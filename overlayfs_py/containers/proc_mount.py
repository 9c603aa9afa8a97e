"""The /proc of a container: that of its own processes, never the host's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from overlayfs_py.containers import masks
from overlayfs_py.syscalls import mounts

if TYPE_CHECKING:
    from collections.abc import Callable

MASKED = (
    *(b"acpi", b"asound", b"interrupts", b"kcore", b"keys", b"latency_stats", b"sched_debug"),
    *(b"scsi", b"timer_list", b"timer_stats"),
)
READ_ONLY = (b"bus", b"fs", b"irq", b"sys", b"sysrq-trigger")
# What programs read of the machine, and what says nothing of any process.
_PLAIN = (
    *(b"cpuinfo", b"filesystems", b"loadavg", b"meminfo", b"stat", b"swaps", b"uptime"),
    *(b"version", b"vmstat"),
)
_LIMIT = (
    "/proc: empty but for files about the machine: the kernel allows no new one where part of it is"
    " masked, as in a container (podman run --security-opt unmask=ALL unmasks it)"
)


def mount(enter: Callable[[], None], *, privileged: bool) -> str | None:
    """Mount it on the working directory; returns what is missing, in words, if anything is."""
    try:
        mounts.mount(b"proc", b".", b"proc", masks.QUIET)
    except PermissionError:
        # In a user namespace, where the /proc in sight is masked in part: mount_too_revealing of
        # fs/namespace.c. That one shows the processes around the container, and through
        # /proc/PID/root their files.
        _mount_plain_files(enter)
        return _LIMIT
    enter()
    if not privileged:
        for name in MASKED:
            masks.mask(name)
        for name in READ_ONLY:
            masks.show_read_only(name)
    return None


def _mount_plain_files(enter: Callable[[], None]) -> None:
    mounts.mount(b"tmpfs", b".", b"tmpfs", masks.QUIET, b"mode=555,size=64k")
    enter()
    for name in _PLAIN:
        source = b"/proc/" + name
        if os.path.isfile(source):
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o444))
            mounts.mount(source, name, None, mounts.MS_BIND)
    masks.make_read_only(b".")
