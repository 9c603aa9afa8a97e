"""fusermount3: the setuid program that mounts FUSE for ordinary users.

It opens /dev/fuse, mounts, and sends the descriptor through the socket whose number stands in
_FUSE_COMMFD (libfuse, lib/mount.c, setup_auto_unmount and fuse_mount_fusermount).
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import socket
import stat
import subprocess
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)

_PROGRAM = "fusermount3"
# Not $PATH: a mount program may be called with an empty environment. The first is where NixOS has
# what gains privileges.
_SEARCH_PATH = ("/run/wrappers/bin", "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin")
_CONFIGURATION = Path("/etc/fuse.conf")


def find() -> str | None:
    """Return where the fusermount3 is that can mount; any, where none can."""
    found = [path for each in _SEARCH_PATH if (path := shutil.which(_PROGRAM, path=each))]
    return next(filter(gains_privileges, found), found[0] if found else None)


def gains_privileges(program: str) -> bool:
    """Whether a program has more rights than the user that starts it: set-user-ID, or more."""
    facts = os.stat(program)
    if os.statvfs(program).f_flag & os.ST_NOSUID:
        return False
    if facts.st_mode & stat.S_ISUID and facts.st_uid == 0:
        return True
    with suppress(OSError):  # a filesystem without xattrs
        return "security.capability" in os.listxattr(program)
    return False


def may_allow_other() -> bool:
    """Whether fusermount3 accepts allow_other from this user; says so in the log where not."""
    if os.geteuid() == 0:
        return True
    reason = why_others_are_denied()
    if reason is not None:
        log.warning("the mount is for this user alone: %s", reason)
    return reason is None


def why_others_are_denied() -> str | None:
    """Return why an ordinary user's mount is for that user alone; None where all may enter it."""
    try:
        lines = _CONFIGURATION.read_text().splitlines()
    except OSError as error:
        return f"cannot read {_CONFIGURATION}: {error.strerror}"
    if any(line.strip() == "user_allow_other" for line in lines):
        return None
    return f"{_CONFIGURATION} has no line user_allow_other"


def escape(value: str) -> str:
    """Return an option's value as fusermount3 reads it."""
    return value.replace("\\", "\\\\").replace(",", "\\,")


def mount(target: bytes, options: list[str]) -> int:
    """Mount at `target` and return the descriptor of /dev/fuse.

    Raises:
        OSError: fusermount3 refuses; its own words are in the message.
    """
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            _run(
                [b"-o", os.fsencode(",".join(options)), b"--", target],
                target,
                communication_fd=theirs.fileno(),
            )
        _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
    if not descriptors:
        raise OSError(errno.EIO, f"{_PROGRAM} sent no descriptor", target)
    return descriptors[0]


def unmount(target: bytes, *, lazy: bool) -> None:
    """Unmount a mount of this user.

    Raises:
        OSError: fusermount3 is missing or refuses; EBUSY where something is in use.
    """
    _run([b"-u", *([b"-z"] if lazy else []), b"--", target], target)


def _run(arguments: list[bytes], target: bytes, *, communication_fd: int | None = None) -> None:
    program = find()
    if program is None:
        raise OSError(errno.EPERM, f"{_PROGRAM} is missing (Debian package fuse3)", target)
    fds = () if communication_fd is None else (communication_fd,)
    done = subprocess.run(
        [program, *arguments],
        env={"_FUSE_COMMFD": str(communication_fd)} if fds else {},
        pass_fds=fds,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode == 0:
        return
    words = os.fsdecode(done.stderr).strip() or f"{_PROGRAM} failed"
    if communication_fd is not None and words.endswith(os.strerror(errno.EPERM)):
        words += "; `overlayfs-py doctor` says what is missing"
    # It exits 1 whatever went wrong; a busy mount is the one case that callers tell apart.
    number = errno.EBUSY if "busy" in words.lower() else errno.EPERM
    raise OSError(number, words.replace("\n", "; "), target)
