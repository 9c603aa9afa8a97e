"""What is known of the process that waits for an answer."""

from __future__ import annotations

import os
import signal
import stat
from functools import partial
from typing import TYPE_CHECKING

from overlayfs_py.union.values import AttributeChange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from overlayfs_py.union.core import Node, Union

_KILL = 1 << (signal.SIGKILL - 1)
_CAP_FSETID = 1 << 4
_INITIAL_USER_NAMESPACE = "user:[4026531837]"  # linux/proc_ns.h, PROC_USER_INIT_INO


def is_being_killed(pid: int) -> bool:
    """Whether a thread is about to end, whatever signal is the cause.

    The kernel turns every fatal signal into a SIGKILL of each thread (kernel/signal.c,
    complete_signal). A thread that cannot be looked at counts as one that lives on.
    """
    pending = _status(pid, b"SigPnd:")
    return bool(pending) and bool(int(pending[0], 16) & _KILL)


def membership(gid: int, pid: int) -> Callable[[int], bool]:
    """Return what says whether a thread with this group is in another one, asked when it counts."""
    return partial(_is_in_group, gid, pid)


def _is_in_group(gid: int, pid: int, group: int) -> bool:
    return gid == group or b"%d" % group in _status(pid, b"Groups:")


def keeps_set_ids(uid: int, pid: int) -> bool:
    """Whether a thread's change of a file leaves set-id bits: CAP_FSETID.

    For requests that do not say. Where the thread cannot be looked at, root counts as one.
    """
    effective = _status(pid, b"CapEff:")
    if not effective:
        return uid == 0
    if not int(effective[0], 16) & _CAP_FSETID:
        return False
    try:
        return os.readlink(f"/proc/{pid}/ns/user") == _INITIAL_USER_NAMESPACE
    except OSError:
        return uid == 0


def _status(pid: int, name: bytes) -> list[bytes]:
    """Return the words of a line of /proc/PID/status; none where there is no such thread to see."""
    try:
        with open(f"/proc/{pid}/status", "rb") as status:
            lines = status.read().splitlines()
    except OSError:  # no /proc, not ours to read, or in another pid namespace
        return []
    return next((line.split()[1:] for line in lines if line.startswith(name)), [])


def xattrs_shown_to(uid: int, names: Iterable[bytes]) -> list[bytes]:
    """Return the xattr names that a user may know of: trusted ones are root's alone.

    Kernel overlayfs asks for CAP_SYS_ADMIN (fs/overlayfs/xattrs.c, ovl_can_list); a request tells
    no capabilities, so root stands for it.
    """
    return [name for name in names if uid == 0 or not name.startswith(b"trusted.")]


def leave_group(union: Union, node: Node, uid: int, gid: int, pid: int) -> None:
    """Clear set-group-ID where a thread that changes a node's ACL is not in its group.

    As kernel overlayfs does, also where the ACL goes (fs/overlayfs/inode.c, ovl_set_acl).
    """
    found = union.attributes(node)
    if not found.mode & stat.S_ISGID or _is_in_group(gid, pid, found.gid):
        return
    if not keeps_set_ids(uid, pid):
        mode = stat.S_IMODE(found.mode & ~stat.S_ISGID)
        union.change_attributes(node, AttributeChange(mode=mode))


def chown_to_nobody(union: Union, node: Node, uid: int, is_in: Callable[[int], bool]) -> None:
    """Do what chown(2) with -1 for both ids does, which asks for no attribute.

    It takes set-id bits away if the caller may change the mode (fs/attr.c, notify_change). The
    same request comes before somebody else's write, which sees to those bits by itself.
    """
    found = union.attributes(node)
    if not stat.S_ISDIR(found.mode) and uid in (0, found.uid):
        set_id = found.mode & (stat.S_ISUID | stat.S_ISGID)
        if set_id:
            union.kill_privileges(node, is_in)
