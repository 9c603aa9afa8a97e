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
import subprocess
from pathlib import Path

log = logging.getLogger(__name__)

_PROGRAM = "fusermount3"
# Not $PATH: a mount program may be called with an empty environment.
_SEARCH_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
_CONFIGURATION = Path("/etc/fuse.conf")


def find() -> str | None:
    """Return where fusermount3 is."""
    return shutil.which(_PROGRAM, path=_SEARCH_PATH)


def may_allow_other() -> bool:
    """Whether fusermount3 accepts allow_other from this user; says so in the log where not."""
    if os.geteuid() == 0:
        return True
    try:
        lines = _CONFIGURATION.read_text().splitlines()
    except OSError as error:
        log.warning("cannot read %s: %s", _CONFIGURATION, error.strerror)
        lines = []
    if any(line.strip() == "user_allow_other" for line in lines):
        return True
    log.warning("the mount is for this user alone: %s has no line user_allow_other", _CONFIGURATION)
    return False


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
                [b"-o", ",".join(options).encode(), b"--", target],
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
    # It exits 1 whatever went wrong; a busy mount is the one case that callers tell apart.
    number = errno.EBUSY if "busy" in words.lower() else errno.EPERM
    raise OSError(number, words.replace("\n", "; "), target)
