"""Whether all that a directory leads to lies on disks of this machine: what answers soon, or never.

A filesystem that another machine or process serves may not answer for as long as it likes, and
whoever asks it waits in the kernel.
"""

from __future__ import annotations

import os

from overlayfs_py.late_import import late_pattern

# Of mountinfo(5). What is not here, FUSE, NFS, CIFS, 9p, autofs and all that is new, may wait.
_LOCAL = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "ramfs", "f2fs", "zfs", "bcachefs", "jfs"}
    | {"overlay", "squashfs", "erofs", "vfat", "msdos", "exfat", "ntfs3", "iso9660", "udf"}
    | {"proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "hugetlbfs", "rootfs", "nilfs2"}
    | {"reiserfs", "mqueue", "securityfs", "debugfs", "tracefs", "configfs", "bpf", "pstore"}
)
_OCTAL = late_pattern(rb"\\([0-7]{3})")


def answers_soon(path: bytes) -> bool:
    """Whether a directory and all that is mounted in it lie on local filesystems.

    No where it is not known: without /proc.
    """
    try:
        with open("/proc/self/mountinfo", "rb") as lines:
            mounts = [_parse(line) for line in lines]
        own = _mount_id_of(path)
    except OSError:
        return False
    real = os.path.realpath(path)
    inside = real.rstrip(b"/") + b"/"
    kinds = {kind for ident, point, kind in mounts if ident == own or point.startswith(inside)}
    return any(ident == own for ident, _, _ in mounts) and kinds <= _LOCAL


def _parse(line: bytes) -> tuple[bytes, bytes, str]:
    fields, _, rest = line.partition(b" - ")
    ident, _, _, _, point, *_ = fields.split(b" ")
    point = _OCTAL.sub(lambda match: bytes([int(match[1], 8)]), point)
    return ident, point, rest.split(b" ")[0].decode()


def _mount_id_of(path: bytes) -> bytes | None:
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        with open(f"/proc/self/fdinfo/{handle}", "rb") as file:
            return next((line.split()[1] for line in file if line.startswith(b"mnt_id:")), None)
    finally:
        os.close(handle)
