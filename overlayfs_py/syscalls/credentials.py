"""What this process is allowed, and acting as somebody else for one system call.

Ids and capabilities are a thread's own in Linux (credentials(7)); the C library's functions that
change those of all threads are not used here.
"""

from __future__ import annotations

import errno
import os
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING

from overlayfs_py.syscalls.libc import CBytes, CUInt, function, out_buffer

if TYPE_CHECKING:
    from collections.abc import Iterator

# linux/capability.h
_CAP_CHOWN, _CAP_FOWNER, _CAP_FSETID, _CAP_SETGID, _CAP_SETUID = 0, 3, 4, 6, 7
_CAP_LINUX_IMMUTABLE, _CAP_SYS_ADMIN = 9, 21
_OF_OWNERS = 1 << _CAP_CHOWN | 1 << _CAP_FOWNER | 1 << _CAP_FSETID | 1 << _CAP_LINUX_IMMUTABLE
_CHANGING_IDS = 1 << _CAP_SETUID | 1 << _CAP_SETGID
_VERSION_3 = 0x20080522
_HEADER = struct.Struct("=Ii")  # version, pid: 0 is this thread
_DATA = struct.Struct("=6I")  # effective, permitted, inheritable; then their upper halves

# include/linux/proc_ns.h, PROC_USER_INIT_INO
_INITIAL_USER_NAMESPACE = "user:[4026531837]"

_capget = function("capget", CBytes, CBytes)
_capset = function("capset", CBytes, CBytes)
# They tell the id from before, and not whether they have succeeded.
_setfsuid = function("setfsuid", CUInt)
_setfsgid = function("setfsgid", CUInt)
_NO_ID = 0xFFFFFFFF


def effective_capabilities() -> int:
    """Return this thread's effective set, a bit for each."""
    effective, _, _, upper_half, _, _ = _DATA.unpack(_read_capabilities())
    return int(upper_half) << 32 | int(effective)


def _read_capabilities() -> bytes:
    data = out_buffer(_DATA.size)
    _capget(_HEADER.pack(_VERSION_3, 0), data)
    return data.raw


def may_act_as_others() -> bool:
    """Whether `acting_as` works for others than the user of this process."""
    return effective_capabilities() & _CHANGING_IDS == _CHANGING_IDS


@contextmanager
def acting_as(uid: int, gid: int, *, owners_rules: bool) -> Iterator[None]:
    """Let this thread's system calls on files be those of a user; threads have their own ids.

    All capabilities stay, those to pass by permissions among them, which somebody else has checked.
    With `owners_rules` those go that an owner's rights can be had by: what chmod(2), sticky
    directories and their like ask then is asked of `uid`.

    Raises:
        PermissionError: this process may not act as that user.
    """
    ours = _read_capabilities()
    uid_before, gid_before = _setfsuid(uid), _setfsgid(gid)
    try:
        if _setfsuid(_NO_ID) != uid or _setfsgid(_NO_ID) != gid:
            raise PermissionError(errno.EPERM, "the mount may not act as this user")
        # A change of ids between root and another has changed the effective set (capabilities(7)).
        _set_effective(ours, without=_OF_OWNERS if owners_rules else 0)
        yield
    finally:
        _setfsuid(uid_before)
        _setfsgid(gid_before)
        _capset(_HEADER.pack(_VERSION_3, 0), ours)


def _set_effective(capabilities: bytes, *, without: int) -> None:
    effective, *rest = _DATA.unpack(capabilities)
    _capset(_HEADER.pack(_VERSION_3, 0), _DATA.pack(effective & ~without, *rest))


def has_trusted_xattrs() -> bool:
    """Whether this process may read and set `trusted.*`: CAP_SYS_ADMIN, not one of a container."""
    return bool(effective_capabilities() >> _CAP_SYS_ADMIN & 1) and in_initial_user_namespace()


def in_initial_user_namespace() -> bool:
    """Whether root here is root of the machine; taken for granted where there is no /proc."""
    try:
        return os.readlink("/proc/self/ns/user") == _INITIAL_USER_NAMESPACE
    except FileNotFoundError:
        return True
