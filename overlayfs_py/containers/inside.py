"""A process that does one thing to one file of a container that runs, as root of the container.

It enters the container's user and mount namespaces and takes its root for its own, so that no link
leads out. From there on it imports nothing: modules would be the container's.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
from typing import TYPE_CHECKING

from overlayfs_py.syscalls import namespaces

if TYPE_CHECKING:
    from collections.abc import Callable

_BLOCK = 1 << 20
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


def main() -> None:
    """Serve `PID WHAT PATH`: a line of JSON, then the bytes of a file that is read."""
    pid, what, path = sys.argv[1:]
    try:
        _enter(int(pid))
    except OSError as error:
        sys.exit(f"overlayfs-py: the container cannot be entered: {error.strerror}")
    try:
        value, data = _CALLS[what](path)
        answer: dict[str, object] = {"value": value}
    except OSError as error:
        answer, data = {"errno": error.errno}, b""
    out = sys.stdout.buffer
    out.write(json.dumps(answer).encode() + b"\n" + data)
    out.flush()


def _enter(pid: int) -> None:
    directory_fd = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY)
    root_fd = os.open("root", os.O_PATH, dir_fd=directory_fd)
    kinds = {"user": namespaces.CLONE_NEWUSER, "mnt": namespaces.CLONE_NEWNS}
    for name, kind in kinds.items():
        fd = os.open(f"ns/{name}", os.O_RDONLY, dir_fd=directory_fd)
        if name != "user" or not os.path.sameopenfile(fd, _own_user_namespace()):
            namespaces.setns(fd, kind)
    os.fchdir(root_fd)
    os.chroot(".")
    os.umask(0o022)


def _own_user_namespace() -> int:
    return os.open("/proc/self/ns/user", os.O_RDONLY)


def _open(path: str, flags: int) -> int:
    # A pipe must not make this wait for ever, nor a device do anything.
    fd = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, 0o644)
    mode = os.fstat(fd).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return fd


def _read(path: str) -> tuple[object, bytes]:
    fd = _open(path, os.O_RDONLY)
    blocks = []
    while block := os.read(fd, _BLOCK):
        blocks.append(block)
    return None, b"".join(blocks)


def _write(path: str) -> tuple[object, bytes]:
    data = memoryview(sys.stdin.buffer.read())
    fd = _open(path, _NEW_FILE)
    while data:
        data = data[os.write(fd, data) :]
    return None, b""


def _list(path: str) -> tuple[object, bytes]:
    return sorted(os.listdir(path)), b""


def _mkdir(path: str) -> tuple[object, bytes]:
    os.mkdir(path)
    return None, b""


def _unlink(path: str) -> tuple[object, bytes]:
    os.unlink(path)
    return None, b""


def _stat(path: str) -> tuple[object, bytes]:
    return list(os.stat(path)), b""


def _kind(path: str) -> tuple[object, bytes]:
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None, b""
    if stat.S_ISDIR(mode):
        return "directory", b""
    return ("file" if stat.S_ISREG(mode) else "other"), b""


_CALLS: dict[str, Callable[[str], tuple[object, bytes]]] = {
    "read": _read,
    "write": _write,
    "list": _list,
    "mkdir": _mkdir,
    "unlink": _unlink,
    "stat": _stat,
    "kind": _kind,
}
