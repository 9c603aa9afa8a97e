"""Asking the daemon of a mount what it has recorded: see `drivers/inquiries`."""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from overlayfs_py.drivers import mountinfo
from overlayfs_py.errors import Failure
from overlayfs_py.terminal_text import for_terminal

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

FILE = "inquiries"  # in the directory of what has one
_CREDENTIALS = struct.Struct("=iII")  # struct ucred
# A daemon that was only just started, or is busy, listens a moment later.
_PATIENCE_S = 3.0
_AGAIN_S = 0.02


def listen(directory: Path) -> socket.socket:
    """Return the socket at which a daemon is to be asked; it lies in a directory of its own."""
    (directory / FILE).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(directory) as path:
            listener.bind(path)
        listener.listen(16)
    except BaseException:
        listener.close()
        raise
    return listener


@contextmanager
def _short(directory: Path) -> Iterator[str]:
    # sun_path holds 108 bytes, a store's path may be longer.
    directory_fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory_fd}/{FILE}"
    finally:
        os.close(directory_fd)


def connect_to_container(directory: Path, name: str) -> socket.socket:
    """Connect to the daemon whose socket lies in a directory.

    Raises:
        Failure: none is there.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(directory) as path:
            sock.connect(path)
    except OSError:
        sock.close()
        raise Failure(f"{name}: its filesystem is not mounted") from None
    return sock


def connect_to_mount(target: bytes) -> socket.socket:
    """Connect to the daemon of a mount.

    Raises:
        Failure: no mount of ours is there, or it cannot be asked.
    """
    shown = os.fsdecode(target)
    found = mountinfo.topmost(os.path.realpath(target))
    if found is None or not found.kind.startswith(b"fuse."):
        raise Failure(f"{shown}: no mount of ours is there")
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(found.inquiries)
        except ConnectionRefusedError:
            sock.close()
            if time.monotonic() >= deadline:
                raise Failure(f"{shown}: its daemon does not answer questions") from None
            time.sleep(_AGAIN_S)
        else:
            break
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    if _CREDENTIALS.unpack(raw)[1] not in {0, os.geteuid(), found.owner}:
        sock.close()  # anybody may take a name
        raise Failure(f"{shown}: another user answers in its place")
    return sock


def ask(sock: socket.socket, question: dict[str, object]) -> Generator[bytes]:
    """Yield the lines of the answer; closes the socket.

    Raises:
        Failure: what the daemon says against it.
    """
    with sock:
        try:
            sock.sendall(json.dumps(question).encode() + b"\n")
            with sock.makefile("rb") as answer:
                for line in answer:
                    if line.startswith(b'{"error"'):
                        raise Failure(for_terminal(str(json.loads(line)["error"])))
                    yield line
        except OSError as error:
            if error.errno not in (errno.ECONNRESET, errno.EPIPE):
                raise
            raise Failure("the daemon of the filesystem has ended") from None
