"""The kernel's end of a FUSE session, for what the real kernel never says or does.

A SOCK_SEQPACKET pair is like /dev/fuse in what counts: each read is one whole message, each write
one whole answer.
"""

from __future__ import annotations

import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import trio

from overlayfs_py.drivers.direct_driver import Server
from overlayfs_py.drivers.mounting import Mounted
from overlayfs_py.drivers.uses import Uses
from overlayfs_py.wire.protocol import Opcode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from overlayfs_py.union.core import Union
    from overlayfs_py.wire.errors import WireError

_TIMEOUT_S = 10
ALL_FLAGS = (1 << 42) - 1


class Answer(NamedTuple):
    """What the daemon wrote: for `unique`, an errno (0: none) and what follows."""

    unique: int
    number: int
    payload: bytes


class FakeKernel:
    """Sends requests and takes answers."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._socket = ours
        self.daemon_fd = theirs.detach()
        self._last = 0
        self.server: Server | None = None
        self.ended = trio.Event()

    def close(self) -> None:
        self._socket.close()

    def send(
        self, opcode: int, body: bytes = b"", *, node: int = 1, uid: int = 0, pid: int = 0
    ) -> int:
        """Send one request; returns what its answer will be known by."""
        self._last += 2
        head = struct.pack(
            "=IIQQIIIHH", 40 + len(body), opcode, self._last, node, uid, 0, pid, 0, 0
        )
        self.send_raw(head + body)
        return self._last

    def send_raw(self, message: bytes) -> None:
        self._socket.send(message)

    def interrupt(self, unique: int) -> None:
        head = struct.pack("=IIQQIIIHH", 48, Opcode.INTERRUPT, unique | 1, *[0] * 6)
        self.send_raw(head + struct.pack("=Q", unique))

    async def receive(self) -> Answer:
        """Return the next answer."""
        with trio.fail_after(_TIMEOUT_S):
            while True:
                await trio.lowlevel.wait_readable(self._socket)
                if (answer := self.receive_nowait()) is not None:
                    return answer

    def receive_nowait(self) -> Answer | None:
        try:
            message = self._socket.recv(1 << 20)
        except BlockingIOError:
            return None
        length, error, unique = struct.unpack_from("=IiQ", message)
        assert length == len(message)
        return Answer(unique, -error, message[16:])

    async def ask(self, opcode: int, body: bytes = b"", *, node: int = 1, uid: int = 0) -> Answer:
        """Send a request and return its answer, which must be the next one."""
        unique = self.send(opcode, body, node=node, uid=uid)
        answer = await self.receive()
        assert answer.unique == unique
        return answer

    async def begin(self, minor: int = 45, flags: int = ALL_FLAGS) -> Answer:
        """Agree on a session as a kernel of that age."""
        words = (flags & 0xFFFFFFFF, flags >> 32) if minor >= 36 else (flags & 0xFFFFFFFF, 0)
        return await self.ask(Opcode.INIT, struct.pack("=IIIII44x", 7, minor, 131072, *words))

    async def wait_for_the_end(self) -> WireError | None:
        """Wait until the server leaves by itself; returns what it left for."""
        assert self.server is not None
        with trio.fail_after(_TIMEOUT_S):
            await self.ended.wait()
        return self.server.broken

    async def answers_or_ends(self) -> bool:
        """Whether the server gives an answer, or leaves because of what it was sent."""
        outcomes: list[object] = []
        async with trio.open_nursery() as nursery:

            async def note(what: Callable[[], Awaitable[object]]) -> None:
                outcomes.append(await what())
                nursery.cancel_scope.cancel()

            nursery.start_soon(note, self.receive)
            nursery.start_soon(note, self.wait_for_the_end)
        return all(outcome is not None for outcome in outcomes)


@asynccontextmanager
async def session(union: Union) -> AsyncIterator[FakeKernel]:
    """Serve `union` to a kernel of ours; leaving stops the server, which must not have failed."""
    kernel = FakeKernel()
    mounted = Mounted(
        kernel.daemon_fd, b"/", None, by_ourselves=True, denies_others=False, uses=Uses()
    )
    server = kernel.server = Server(union, mounted)

    async def serve() -> None:
        await server.run()
        kernel.ended.set()

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            yield kernel
            server.stop()
    finally:
        server.close()
        kernel.close()
