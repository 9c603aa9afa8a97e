"""What this process is allowed, and acting as somebody else for one system call.

Ids and capabilities are a thread's own in Linux (credentials(7)); the C library's functions that
change those of all threads are not used here.
"""

from __future__ import annotations

import os
import struct

from overlayfs_py.syscalls.libc import CBytes, function, out_buffer

# linux/capability.h
CAP_SYS_ADMIN = 21
_VERSION_3 = 0x20080522
_HEADER = struct.Struct("=Ii")  # version, pid: 0 is this thread
_DATA = struct.Struct("=6I")  # effective, permitted, inheritable; then their upper halves

# include/linux/proc_ns.h, PROC_USER_INIT_INO
_INITIAL_USER_NAMESPACE = "user:[4026531837]"

_capget = function("capget", CBytes, CBytes)


def effective_capabilities() -> int:
    """Return this thread's effective set, a bit for each."""
    data = out_buffer(_DATA.size)
    _capget(_HEADER.pack(_VERSION_3, 0), data)
    effective, _, _, upper_half, _, _ = _DATA.unpack(data.raw)
    return int(upper_half) << 32 | int(effective)


def has_trusted_xattrs() -> bool:
    """Whether this process may read and set `trusted.*`: CAP_SYS_ADMIN, not one of a container."""
    return bool(effective_capabilities() >> CAP_SYS_ADMIN & 1) and in_initial_user_namespace()


def in_initial_user_namespace() -> bool:
    """Whether root here is root of the machine; taken for granted where there is no /proc."""
    try:
        return os.readlink("/proc/self/ns/user") == _INITIAL_USER_NAMESPACE
    except FileNotFoundError:
        return True
