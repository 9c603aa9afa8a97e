"""Mount /dev/fuse somewhere, and unmount.

mount(2) where the kernel lets us (root, or a user namespace with its own mount namespace), the
setuid program fusermount3 otherwise. Both end in a descriptor on which a driver serves.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING

from overlayfs_py.drivers import mountinfo
from overlayfs_py.drivers.idle_polling import IdlePolling
from overlayfs_py.drivers.uses import Uses
from overlayfs_py.late_import import LateModule
from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.syscalls import files, mounts

if TYPE_CHECKING:
    from overlayfs_py.drivers import fusermount
    from overlayfs_py.drivers.idle_polling import Wakefulness
else:
    # With subprocess, sockets and archives, for those who cannot mount by themselves.
    fusermount = LateModule("overlayfs_py.drivers.fusermount")

_DEVICE = "/dev/fuse"
_READ_AHEAD = "/sys/class/bdi/%s/read_ahead_kb"
_READ_AHEAD_KIB = 1024  # what one READ may ask for; the kernel's own is 128


class IoMode(Enum):
    """How file data moves; see `passthrough`."""

    CACHED = "cached"  # through the daemon into the kernel's page cache; opens need no message
    PASSTHROUGH = "passthrough"  # the kernel uses the file behind; needs root and Linux 6.9


class MountPlan(NamedTuple):
    """Where to mount, and what mount(8) shows and enforces.

    fusermount3 mounts nosuid and nodev whatever `suid` and `dev` say, unless root calls it.
    """

    target: bytes
    source: str = "overlay"
    subtype: str = "fuse-overlayfs-py"
    read_only: bool = False
    suid: bool = True
    dev: bool = True
    exec: bool = True
    noatime: bool = False
    allow_other: bool = True
    allow_root: bool = False  # only the mounting user and root; `allow_other` outdoes it
    # The kernel checks modes. It does so anyway under a driver that offers ACLs.
    default_permissions: bool = True
    selinux_context: str | None = None
    sync: bool = False
    dirsync: bool = False
    io: IoMode = IoMode.CACHED
    # The kernel collects what is written and sends it later: at close(2), fsync(2), or by itself.
    writeback: bool = False
    idle_polling: IdlePolling = IdlePolling.AUTO
    # Of an upper that another mount writes to, show what it has, read-only; False refuses.
    shares_upper: bool = True
    # A socket on which the daemon is asked for another upper: see `direct_door`.
    door_fd: int | None = None
    # A socket that listens for questions: see `inquiries`; None: one is made.
    inquiry_fd: int | None = None
    # What was used of the layers is written to a file that is open for reading and appending.
    uses_fd: int | None = None
    exact_uses: bool = False  # at the cost of a message more for each name that is listed


class Mounted(NamedTuple):
    """A mount that waits for a driver on `fd`, which the driver closes."""

    fd: int
    target: bytes  # absolute, without symlinks
    listed: mountinfo.Mount | None  # in mountinfo; None where there is no /proc
    by_ourselves: bool  # with mount(2), not by fusermount3
    # Others than the mounting user and root are turned away by the driver (the kernel knows only
    # "everyone" and "the mounting user").
    denies_others: bool
    uses: Uses
    io: IoMode = IoMode.CACHED
    writeback: bool = False
    wakefulness: Wakefulness | None = None  # its owner's to close
    door_fd: int | None = None
    inquiry_fd: int | None = None

    @property
    def leaves_umask(self) -> bool:
        """Whether the kernel leaves it to us to apply the umask, or a default ACL instead of it."""
        return self.by_ourselves

    def unmount(self) -> bool:
        """Unmount, from a busy mount too: what is open there then dies with the driver.

        A mount that is gone already, or covered by another one, is left as it is. Returns whether
        it was busy: then the kernel has begun to send what is dirty in its page cache, and may not
        have done so when this returns.
        """
        if self.listed is not None:
            on_top = mountinfo.topmost(self.target)
            if on_top is None or on_top.ident != self.listed.ident:
                return False
        try:
            # Writes back what is dirty in the page cache, which a lazy unmount does not.
            unmount(self.target)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            with suppress(OSError):  # the driver is dead already
                files.sync_filesystem(self.target)
            unmount(self.target, lazy=True)
            return True
        return False

    def unmount_if_dead(self) -> None:
        """Clear what is left where the connection was aborted; no mount that somebody serves."""
        try:
            os.statvfs(self.target)
        except OSError as error:
            if error.errno == errno.ENOTCONN:
                self.unmount()

    def raise_read_ahead(self) -> None:
        """Let the kernel read further ahead than it does by itself, where we may say so: as root.

        After INIT, whose answer can only lower it.
        """
        if self.listed is not None:
            setting = _READ_AHEAD % os.fsdecode(self.listed.device)
            # Without the right, or without sysfs, it reads as others do.
            with suppress(OSError), open(setting, "w") as file:
                file.write(str(_READ_AHEAD_KIB))


def mount(plan: MountPlan, wakefulness: Wakefulness | None = None) -> Mounted:
    """Mount as planned; the kernel lets everyone wait there until a driver serves.

    Raises:
        OSError: with the target or the device as its file name.
    """
    if not plan.target:
        # To realpath(3) in Python it is the working directory.
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), plan.target)
    target = os.path.realpath(plan.target)
    try:
        fd, by_ourselves = _mount_ourselves(plan, target), True
    except PermissionError as refusal:
        fd, by_ourselves = _mount_with_help(plan, target, refusal), False
    denies_others = plan.allow_root and not plan.allow_other
    return Mounted(
        fd,
        target,
        _identify(target),
        by_ourselves,
        denies_others,
        Uses(exact=plan.exact_uses),
        plan.io,
        plan.writeback,
        wakefulness,
        plan.door_fd,
        plan.inquiry_fd,
    )


def unmount(target: bytes, *, lazy: bool = False) -> None:
    """Unmount what is mounted at `target`, also where the daemon behind it is dead.

    `lazy` takes it out of the tree at once and leaves the rest to its last user.
    """
    try:
        mounts.umount(target, mounts.MNT_DETACH if lazy else 0)
    except PermissionError:
        fusermount.unmount(target, lazy=lazy)
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise OSError(errno.EINVAL, "not a mount point", target) from None
        raise


def _mount_ourselves(plan: MountPlan, target: bytes) -> int:
    fd = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    try:
        kind = f"fuse.{plan.subtype}".encode()
        mounts.mount(os.fsencode(plan.source), target, kind, _flags(plan), _data(plan, fd))
    except OSError:
        os.close(fd)
        raise
    return fd


def _flags(plan: MountPlan) -> int:
    # FUSE takes MS_POSIXACL as "do not apply the umask" (fs/fuse/inode.c, fuse_fill_super_common):
    # then it arrives with the request, and where the parent has a default ACL it is not applied.
    flags = mounts.MS_POSIXACL
    flags |= mounts.MS_RDONLY * plan.read_only
    flags |= mounts.MS_NOSUID * (not plan.suid)
    flags |= mounts.MS_NODEV * (not plan.dev)
    flags |= mounts.MS_NOEXEC * (not plan.exec)
    flags |= mounts.MS_NOATIME * plan.noatime
    flags |= mounts.MS_SYNCHRONOUS * plan.sync
    flags |= mounts.MS_DIRSYNC * plan.dirsync
    return flags


def _data(plan: MountPlan, fd: int) -> bytes:
    options = [
        f"fd={fd}",
        f"rootmode={stat.S_IFDIR:o}",
        f"user_id={os.geteuid()}",
        f"group_id={os.getegid()}",
    ]
    if plan.default_permissions:
        options.append("default_permissions")
    if plan.allow_other or plan.allow_root:
        options.append("allow_other")
    if plan.selinux_context is not None:
        # Quoted: a context may hold commas (security/selinux/hooks.c, selinux_sb_eat_lsm_opts).
        options.append(f'context="{plan.selinux_context}"')
    return os.fsencode(",".join(options))


def _mount_with_help(plan: MountPlan, target: bytes, refusal: PermissionError) -> int:
    if fusermount.find() is None:
        message = f"{refusal.strerror}: mounting needs root, a user namespace of one's own, or "
        raise OSError(
            errno.EPERM, f"{message}fusermount3 (Debian package fuse3)", target
        ) from refusal
    return fusermount.mount(target, _helper_options(plan))


def _helper_options(plan: MountPlan) -> list[str]:
    """Return the words for fusermount3's -o.

    Not its noatime: the next release refuses it, and FUSE never updates atime by itself.
    """
    wanted = {
        "ro": plan.read_only,
        "suid": plan.suid and os.geteuid() == 0,
        "dev": plan.dev and os.geteuid() == 0,
        "noexec": not plan.exec,
        "sync": plan.sync,
        "dirsync": plan.dirsync,
        "default_permissions": plan.default_permissions,
        "allow_other": plan.allow_other and fusermount.may_allow_other(),
    }
    words = [word for word, is_wanted in wanted.items() if is_wanted]
    words += [f"fsname={fusermount.escape(plan.source)}"]
    words += [f"subtype={fusermount.escape(plan.subtype)}"]
    if plan.selinux_context is not None:
        words.append(f'context="{fusermount.escape(plan.selinux_context)}"')
    return words


def _identify(target: bytes) -> mountinfo.Mount | None:
    with suppress(FileNotFoundError):  # no /proc: then unmount() takes what is on top
        return mountinfo.topmost(target)
    return None
