"""What is known of the process that waits for an answer."""

from __future__ import annotations

import signal
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from overlayfs_py.union.core import Node, Union

_KILL = 1 << (signal.SIGKILL - 1)


def is_being_killed(pid: int) -> bool:
    """Whether a thread is about to end, whatever signal is the cause.

    The kernel turns every fatal signal into a SIGKILL of each thread (kernel/signal.c,
    complete_signal). A thread that cannot be looked at counts as one that lives on.
    """
    try:
        with open(f"/proc/{pid}/status", "rb") as status:
            lines = status.read().splitlines()
    except OSError:  # no /proc, not ours to read, or in another pid namespace
        return False
    pending = (int(line.split()[1], 16) for line in lines if line.startswith(b"SigPnd:"))
    return any(mask & _KILL for mask in pending)


def xattrs_shown_to(uid: int, names: Iterable[bytes]) -> list[bytes]:
    """Return the xattr names that a user may know of: trusted ones are root's alone.

    Kernel overlayfs asks for CAP_SYS_ADMIN (fs/overlayfs/xattrs.c, ovl_can_list); a request tells
    no capabilities, so root stands for it.
    """
    return [name for name in names if uid == 0 or not name.startswith(b"trusted.")]


def chown_to_nobody(union: Union, node: Node, uid: int) -> None:
    """Do what chown(2) with -1 for both ids does, which asks for no attribute.

    It takes set-id bits away if the caller may change the mode (fs/attr.c, notify_change). The
    same request comes before somebody else's write, which sees to those bits by itself.
    """
    found = union.attributes(node)
    if not stat.S_ISDIR(found.mode) and uid in (0, found.uid):
        set_id = found.mode & (stat.S_ISUID | stat.S_ISGID)
        if set_id:
            union.kill_privileges(node)
