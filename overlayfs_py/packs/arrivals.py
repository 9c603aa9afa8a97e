"""Chunks of a pack that is still coming: which are here, and waiting for those that are not.

Beside such a pack lies a file with a byte for each chunk, 1 where it is here. Who brings them is
another process, which listens at a socket one directory above; where none does, it is started. A
byte may be ahead of the disk after a crash, so whoever reads a chunk verifies it, as always, and
asks for it again.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from typing import NamedTuple

from overlayfs_py.errors import NotArrived
from overlayfs_py.terminal_text import shortened

HERE = "layer.here"  # beside the pack
SOCKET = "socket"  # one directory above
HEAD = struct.Struct("<8sI4x")  # magic, how long a reader waits for a chunk, in ms
MAGIC = b"\x93OLPHERE"
LONGEST_WAIT_S = 24 * 3600.0
_AGAIN_S = 0.2  # between two looks for somebody who brings chunks
_START_AGAIN_S = 5.0
_MARGIN_S = 0.5  # so that who brings chunks answers first, with the reason
_LONGEST_ANSWER = 1024
_NOBODY = (errno.ENOENT, errno.ECONNREFUSED)
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Wanted(NamedTuple):
    """What a reader asks for."""

    layer: str  # the name of its directory
    chunk: int
    seconds: float  # how long the reader waits
    again: bool  # what is here is not what it should be

    def line(self) -> bytes:
        """As it goes through the socket."""
        return json.dumps(self._asdict()).encode() + b"\n"


def read_wanted(line: bytes) -> Wanted:
    """Return what a line asks for.

    Raises:
        ValueError: it is none.
    """
    found = json.loads(line)
    layer, chunk, seconds, again = (found[name] for name in Wanted._fields)
    if not (isinstance(layer, str) and isinstance(chunk, int) and isinstance(again, bool)):
        raise ValueError("not a request")  # noqa: TRY004 - of a line, not of an argument
    return Wanted(layer, chunk, min(float(seconds), LONGEST_WAIT_S), again)


def new_head(wait_s: float) -> bytes:
    """Return what the file of bytes begins with."""
    return HEAD.pack(MAGIC, round(min(wait_s, LONGEST_WAIT_S) * 1000))


class Arrivals:
    """The chunks of one open pack; may be used in any thread."""

    def __init__(self, fd: int, directory_fd: int, path: bytes) -> None:
        """Take over two descriptors: of the file of bytes, and of where the socket lies."""
        self._fd = fd
        self._directory_fd = directory_fd
        self._path = path
        self._layer = os.fsdecode(os.path.basename(os.path.dirname(path)))
        self._starting = threading.Lock()
        self._started = -_START_AGAIN_S
        magic, wait_ms = HEAD.unpack(os.pread(fd, HEAD.size, 0).ljust(HEAD.size, b"\0"))
        self._wait_s = wait_ms / 1000 if magic == MAGIC else 0.0

    @property
    def wait_s(self) -> float:
        """How long a reader waits."""
        return self._wait_s

    def has(self, number: int) -> bool:
        """Whether a chunk is here."""
        return os.pread(self._fd, 1, HEAD.size + number) == b"\1"

    def bring(self, number: int, *, again: bool = False) -> None:
        """Return once a chunk is here; blocks, for so long as a reader waits.

        Raises:
            NotArrived: it has not come.
        """
        deadline = time.monotonic() + self._wait_s
        while True:
            left = deadline - time.monotonic()
            try:
                return self._ask(Wanted(self._layer, number, max(0, left), again), left)
            except OSError as error:
                if isinstance(error, NotArrived):
                    raise
                reason = "nobody brings it" if error.errno in _NOBODY else str(error.strerror)
            if time.monotonic() + _AGAIN_S >= deadline:
                raise self._missing(number, reason)
            self._start()
            time.sleep(_AGAIN_S)

    def _ask(self, wanted: Wanted, left: float) -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(max(_MARGIN_S, left + _MARGIN_S))
            try:
                # Through the descriptor: the path may be longer than an address, or be another's.
                sock.connect(f"/proc/self/fd/{self._directory_fd}/{SOCKET}")
                sock.sendall(wanted.line())
                answer = sock.recv(_LONGEST_ANSWER)
            except TimeoutError:
                raise self._missing(wanted.chunk, "no answer") from None
        if not answer:  # who was to bring it has ended
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        if answer != b"ok\n":
            raise self._missing(wanted.chunk, shortened(os.fsdecode(answer).strip(), 400))

    def _start(self) -> None:
        """Start who brings chunks, unless that was done just now."""
        if not self._starting.acquire(blocking=False):
            return
        try:
            if time.monotonic() - self._started >= _START_AGAIN_S:
                start_bringing(os.fsencode(os.readlink(f"/proc/self/fd/{self._directory_fd}")))
                self._started = time.monotonic()
        finally:
            self._starting.release()

    def _missing(self, number: int, reason: str) -> NotArrived:
        why = f"chunk {number} has not come within {self._wait_s:g} s: {reason}"
        return NotArrived(self._path, why)

    def close(self) -> None:
        """Close both descriptors."""
        os.close(self._fd)
        os.close(self._directory_fd)


def start_bringing(coming: bytes) -> None:
    """Start the process that brings chunks, for a store's directory of layers that are coming.

    Returns once it listens, or has failed, or another one is there already.
    """
    root = os.fsdecode(os.path.dirname(coming))
    # -P: whatever lies in the working directory is no module of ours.
    words = [sys.executable, "-P", "-m", "overlayfs_py", "store", "fetch", "--root", root]
    null = subprocess.DEVNULL
    # In a session of its own: it outlives whoever was the first to miss something.
    starter = subprocess.Popen(words, stdin=null, stdout=null, stderr=null, start_new_session=True)
    starter.wait()


def find_arrivals(path: bytes) -> Arrivals | None:
    """Return what is still to come of the pack at `path`, None if all of it is there.

    Only our own files are believed: they make this process talk to another one, and start it.
    """
    directory = os.path.dirname(path)
    try:
        fd = os.open(
            os.path.join(directory, HERE.encode()), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        above = os.path.dirname(os.path.abspath(directory))
        directory_fd = os.open(above, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except BaseException:
        os.close(fd)
        raise
    if _is_ours(os.fstat(fd), stat.S_IFREG) and _is_ours(os.fstat(directory_fd), stat.S_IFDIR):
        return Arrivals(fd, directory_fd, path)
    os.close(fd)
    os.close(directory_fd)
    return None


def _is_ours(status: os.stat_result, kind: int) -> bool:
    others = stat.S_IWGRP | stat.S_IWOTH
    return (
        stat.S_IFMT(status.st_mode) == kind
        and status.st_uid == os.geteuid()
        and not status.st_mode & others
    )
