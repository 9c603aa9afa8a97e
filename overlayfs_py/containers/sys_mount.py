"""The /sys of a container, to read: without what else the host has mounted there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from overlayfs_py.containers import masks
from overlayfs_py.drivers import mountinfo
from overlayfs_py.syscalls import mounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MASKED = (b"firmware", b"devices/virtual/powercap")
_CGROUPS = b"fs/cgroup"
# Programs look there for their limits. Below them nothing else is mounted.
_SHOWN = frozenset({b"cgroup", b"cgroup2", b"tmpfs"})


def mount(
    enter: Callable[[], None], *, privileged: bool, is_new: bool, has_own_cgroups: bool
) -> None:
    """Mount it on the working directory.

    With `is_new` it shows the devices of this process's network namespace, where the kernel
    allows that; a network namespace of the process's own is needed.
    """
    if not (is_new and _mount_new(enter)):
        mounts.mount(b"/sys", b".", None, mounts.MS_BIND | mounts.MS_REC)
        enter()
    if has_own_cgroups and os.path.exists(os.path.join(_CGROUPS, b"cgroup.controllers")):
        # Of version 2: what the namespace shows begins where this process is.
        mounts.mount(b"cgroup2", _CGROUPS, b"cgroup2", masks.QUIET)
    if privileged:
        return
    for target in (*_others(os.getcwdb()), *MASKED):
        masks.mask(target)
    masks.make_read_only(b".")


def _mount_new(enter: Callable[[], None]) -> bool:
    """Whether the kernel lets this process have one: not where part of the host's is masked."""
    try:
        mounts.mount(b"sysfs", b".", b"sysfs", masks.QUIET)
    except PermissionError:
        return False
    enter()
    if os.path.isdir(_CGROUPS):
        mounts.mount(b"/sys/" + _CGROUPS, _CGROUPS, None, mounts.MS_BIND | mounts.MS_REC)
    return True


def _others(sys: bytes) -> Iterator[bytes]:
    """What of the host is mounted below: debugfs, tracefs, bpf, efivarfs and the like."""
    covered: list[bytes] = []
    for found in mountinfo.below(sys):
        is_covered = any(found.target.startswith(other + b"/") for other in covered)
        if found.kind not in _SHOWN and not is_covered:
            covered.append(found.target)
            yield found.target
