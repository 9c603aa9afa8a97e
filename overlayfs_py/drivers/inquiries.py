"""Questions to a mount's daemon, each by a connection of its own to a socket that it listens at.

A question is a line of JSON. {"ask": "uses"}: the answer is the record, as `lines_of` writes it.
{"ask": "requests", "seconds": S}: a line of JSON every S seconds, until the one who asks has gone.
What cannot be told is a line {"error": TEXT}. Nothing is changed by a question.

The socket of a container lies in its directory. Any other mount has an abstract one, by the number
of its device: it goes with its daemon, however that ends. There its user and root are answered.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import struct
from typing import TYPE_CHECKING

import trio

from overlayfs_py.drivers.written_uses import lines_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from overlayfs_py.drivers.mounting import Mounted
    from overlayfs_py.drivers.request_counts import RequestCounts

    Counting = Callable[[], RequestCounts]

_LONGEST = 4096
_PATIENCE_S = 5.0  # guess: for one who connects and does not ask
_SHORTEST_S, _LONGEST_S = 0.05, 3600.0
_CREDENTIALS = struct.Struct("=iII")  # struct ucred

log = logging.getLogger(__name__)


async def heed(
    mounted: Mounted,
    begin_counting: Counting | None,
    end_counting: Callable[[RequestCounts], None],
) -> None:
    """Answer as long as the mount is served."""
    listener = _listener(mounted)
    if listener is None:
        return
    with trio.socket.from_stdlib_socket(listener) as door:
        async with trio.open_nursery() as nursery:
            while True:
                stream = await _accepted(door)
                if stream is not None:
                    inquiry = _Inquiry(stream, mounted, begin_counting, end_counting)
                    nursery.start_soon(inquiry.answer)


def _listener(mounted: Mounted) -> socket.socket | None:
    if mounted.inquiry_fd is not None:
        return socket.socket(fileno=mounted.inquiry_fd)
    if mounted.listed is None:
        return None
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(mounted.listed.inquiries)
        listener.listen(16)
    except OSError as error:
        # Somebody has taken it: the mount works, and cannot be asked.
        log.info("questions are not answered: %s", error)
        listener.close()
        return None
    return listener


async def _accepted(listener: trio.socket.SocketType) -> trio.SocketStream | None:
    try:
        sock, _ = await listener.accept()
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            await trio.sleep(_SHORTEST_S)
        return None  # it has gone already, or there is no descriptor left for it
    return trio.SocketStream(sock)


class _Inquiry:
    """One question."""

    def __init__(
        self,
        stream: trio.SocketStream,
        mounted: Mounted,
        begin_counting: Counting | None,
        end_counting: Callable[[RequestCounts], None],
    ) -> None:
        self._stream = stream
        self._mounted = mounted
        self._begin_counting = begin_counting
        self._end_counting = end_counting

    async def answer(self) -> None:
        async with self._stream:
            try:
                if self._may_ask():
                    await self._answer(json.loads(await self._question()))
            except (trio.BrokenResourceError, trio.TooSlowError):
                pass  # it has gone
            except (ValueError, OSError) as error:
                await self._refuse(f"malformed question: {error}")

    def _may_ask(self) -> bool:
        if self._mounted.inquiry_fd is not None:
            return True  # its directory lets nobody else in
        raw = self._stream.socket.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
        )
        assert isinstance(raw, bytes)
        _, uid, _ = _CREDENTIALS.unpack(raw)
        return uid in {0, os.geteuid()}

    async def _question(self) -> bytes:
        line = b""
        with trio.fail_after(_PATIENCE_S):
            while not line.endswith(b"\n"):
                more = await self._stream.receive_some(_LONGEST)
                if not more or len(line) > _LONGEST:
                    raise ValueError("no end of the line")
                line += more
        return line

    async def _answer(self, question: object) -> None:
        match question:
            case {"ask": "uses"}:
                uses = self._mounted.uses
                recorded = uses.recorded()
                text = await trio.to_thread.run_sync(
                    lambda: "".join(lines_of(recorded, exact=uses.exact)).encode()
                )
                await self._stream.send_all(text)
            case {"ask": "requests", "seconds": int() | float() as seconds}:
                await self._count(min(max(float(seconds), _SHORTEST_S), _LONGEST_S))
            case _:
                await self._refuse("no such question")

    async def _count(self, seconds: float) -> None:
        if self._begin_counting is None:
            await self._refuse("the driver pyfuse3 does not know whose requests it answers")
            return
        counts = self._begin_counting()
        try:
            while True:
                with trio.move_on_after(seconds):
                    if not await self._stream.receive_some(1):
                        return  # it has gone
                told = [each._asdict() for each in counts.take()]
                await self._stream.send_all(json.dumps({"processes": told}).encode() + b"\n")
        finally:
            self._end_counting(counts)

    async def _refuse(self, why: str) -> None:
        await self._stream.send_all(json.dumps({"error": why}).encode() + b"\n")
