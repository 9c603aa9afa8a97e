"""One writer for an upper and its workdir: locks that only their owner can take.

The lock that counts is on the stage in the workdir, which only its owner can open (0700): any
user who can open a file can hold flock(2) on it. An upper may be readable by everybody, so a lock
there says something only where its holder is the owner, or us, or root. It finds a mount of the
same upper with another workdir.
"""

from __future__ import annotations

import errno
import fcntl
import os

from overlayfs_py.errors import UpperInUse
from overlayfs_py.union.overlaps import named


def lock(upper_fd: int, upper: bytes, stage_fd: int, work: bytes) -> None:
    """Lock both until their descriptors are closed.

    Raises:
        UpperInUse: another mount has the upper.
        OSError: EBUSY, another mount has the workdir.
    """
    if not _taken(upper_fd) and _is_held_by_its_owner(upper_fd):
        raise UpperInUse(named("upperdir", upper))
    if not _taken(stage_fd):
        raise OSError(errno.EBUSY, UpperInUse.REASON, named("workdir", work))


def _taken(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_held_by_its_owner(fd: int) -> bool:
    """Whether a mount of ours may hold the lock.

    A shared lock is none of ours. A holder whom we cannot see (in a PID namespace that is not
    below this one) may be.
    """
    status = os.fstat(fd)
    trusted = {0, os.geteuid(), status.st_uid}
    locks = _locks_on(status.st_ino)
    writers = [pid for pid, kind in locks if kind == b"WRITE"]
    return not locks or any(_user_of(pid) in trusted for pid in writers)


def _locks_on(ino: int) -> list[tuple[int, bytes]]:
    """The holders of flock(2) on an inode: process and kind, of any filesystem with that number."""
    with open("/proc/locks", "rb") as file:
        # 1: FLOCK  ADVISORY  WRITE 4711 08:01:131 0 EOF; the device may differ from stat(2)'s.
        lines = [line.split() for line in file]
    return [
        (int(line[4]), line[3])
        for line in lines
        if line[1] == b"FLOCK" and int(line[5].rpartition(b":")[2]) == ino
    ]


def _user_of(pid: int) -> int | None:
    """The real user of a process; a set-user-ID program that inherited a lock is its caller's."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            users = next(line for line in file if line.startswith(b"Uid:"))
    except (FileNotFoundError, ProcessLookupError):
        return None  # it took the lock for somebody else
    return int(users.split()[1])
