"""Processes that build stages side by side, one for each stage, and what they say to the build.

Plan: a worker is forked with all that it needs. It sends pickled messages through a socket; when
it wants another stage's result it asks, and waits for the answer. What commands write goes through
a pipe of its own, since that is the worker's stdout and stderr. A worker ends with its parent, and
a command with its worker, whichever of them is killed.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import struct
from typing import TYPE_CHECKING

from msgspec import Struct

from overlayfs_py.errors import describe, exit_code_of
from overlayfs_py.mounts import children

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from overlayfs_py.builds.events import Event
    from overlayfs_py.builds.state import StageState
    from overlayfs_py.mounts.children import Child, Report

    # Builds a stage with what it can ask for and tell.
    Work = Callable[["Link"], StageState]

_LENGTH = struct.Struct("=I")
_CHUNK_BYTES = 1 << 16


class Told(Struct, frozen=True):
    """An event of the stage."""

    event: Event


class Wanted(Struct, frozen=True):
    """The worker waits for another stage."""

    stage: int


class Ended(Struct, frozen=True):
    """The stage is built."""

    state: StageState


class Broken(Struct, frozen=True):
    """The stage cannot be built."""

    text: str
    exit_code: int
    details: tuple[str, ...] = ()  # of a Dockerfile: the line, and a mark below it
    kept: str = ""  # where the upper of a command is that failed
    layers: tuple[bytes, ...] = ()  # what it ran on, topmost first
    is_dry: bool = False  # only that a dry run can go no further
    gone: tuple[str, ...] = ()  # layers that another cache has told of, and does not have


Message = Told | Wanted | Ended | Broken


class Link:
    """A worker's own end."""

    def __init__(self, sock: socket.socket, parent_fd: int) -> None:
        self._sock = sock
        self._parent_fd = parent_fd

    def tell(self, event: Event) -> None:
        """Let the build know."""
        self._send(Told(event))

    def state(self, index: int) -> StageState:
        """Ask for what another stage has become, and wait until it is there."""
        self._send(Wanted(index))
        length = _received(self._sock, _LENGTH.size)
        found: StageState = pickle.loads(_received(self._sock, *_LENGTH.unpack(length)))
        return found

    def become_root(self) -> None:
        """Become root, an ordinary user's of a user namespace, for good."""
        # Only here: most stages need not.
        from overlayfs_py.containers import user_namespace
        from overlayfs_py.packs.chunks import process_cache

        if not user_namespace.may_mount():
            # Who has read a large file of another stage has a second thread, and may enter none.
            process_cache().ahead.stop()
            user_namespace.enter()
            # The kernel forgets it where a process gets new rights (commit_creds).
            children.die_with(os.dup(self._parent_fd), signal.SIGTERM)

    def end(self, message: Ended | Broken) -> None:
        """Say the last word."""
        self._send(message)

    def _send(self, message: Message) -> None:
        data = pickle.dumps(message)
        try:
            self._sock.sendall(_LENGTH.pack(len(data)) + data)
        except BrokenPipeError:
            raise KeyboardInterrupt from None  # the build has ended: so does this


class Worker:
    """A process that builds one stage, as the build sees it."""

    def __init__(self, index: int, child: Child, sock: socket.socket, output_fd: int) -> None:
        self.index = index
        self.sock = sock
        self.output_fd = output_fd
        self.waits_for: int | None = None
        self._child = child
        self._data = bytearray()

    def messages(self) -> list[Message] | None:
        """What it has sent since the last time, None once it has ended."""
        data = self.sock.recv(_CHUNK_BYTES)
        if not data:
            return None
        self._data += data
        found: list[Message] = []
        while (message := self._next()) is not None:
            found.append(message)
        return found

    def _next(self) -> Message | None:
        if len(self._data) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._data)
        end = _LENGTH.size + length
        if len(self._data) < end:
            return None
        message: Message = pickle.loads(self._data[_LENGTH.size : end])
        del self._data[:end]
        return message

    def output(self) -> bytes:
        """What its command has written since the last time; nothing where that is nothing."""
        pieces = []
        while True:
            try:
                piece = os.read(self.output_fd, _CHUNK_BYTES)
            except BlockingIOError:
                break
            if not piece:
                break
            pieces.append(piece)
        return b"".join(pieces)

    def answer(self, state: StageState) -> None:
        """Give it what it waits for."""
        self.waits_for = None
        data = pickle.dumps(state)
        self.sock.sendall(_LENGTH.pack(len(data)) + data)

    def cancel(self) -> None:
        """Ask it to take back what it has half done, and to end."""
        self._child.kill(signal.SIGTERM)

    def end(self) -> int:
        """Wait until it has ended; returns its exit status."""
        # It may wait for an answer. Other workers have copies of this end: closing says nothing.
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        status = self._child.wait()
        os.close(self.output_fd)
        return status


def start(index: int, work: Work) -> Worker:
    """Fork a worker; to be called while there is one thread."""
    ours, theirs = socket.socketpair()
    output_fd, write_fd = os.pipe()
    os.set_blocking(output_fd, False)
    parent_fd = os.pidfd_open(os.getpid())

    def run(_: Report) -> int:
        ours.close()
        os.close(output_fd)
        _detach(write_fd, parent_fd)
        link = Link(theirs, parent_fd)
        try:
            link.end(Ended(work(link)))
        except OSError as error:
            link.end(_broken(error))
        return 0

    # One that comes before the worker hears it waits: Python forgets those of a fork, and what the
    # build does at one is not what a worker does.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        child = children.start(run)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    os.close(write_fd)
    os.close(parent_fd)
    return Worker(index, child, ours, output_fd)


def _detach(output_fd: int, parent_fd: int) -> None:
    """Be out of reach of ^C, which the build hears; end with the build."""
    os.setsid()
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    children.die_with(os.dup(parent_fd), signal.SIGTERM)
    null_fd = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null_fd, 0)
    os.close(null_fd)
    for number in (1, 2):
        os.dup2(output_fd, number)
    os.close(output_fd)


def _interrupt(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # once: what is taken back is not interrupted
    raise KeyboardInterrupt


def _broken(error: OSError) -> Broken:
    reason = getattr(error, "error", error)  # of a step that failed
    gone = getattr(reason, "gone", ())
    return Broken(
        describe(reason if gone else error),
        exit_code_of(error),
        getattr(error, "details", ()),
        getattr(reason, "kept", ""),
        getattr(reason, "layers", ()),
        getattr(error, "is_dry", False),
        gone,
    )


def _received(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise KeyboardInterrupt  # the build has ended: so does this
        data += piece
    return bytes(data)
