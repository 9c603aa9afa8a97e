"""Blocks of bytes from a trio task to a thread that reads them as an iterator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEPTH = 4  # blocks under way; both ends rarely wait, and memory stays small


class BrokenOff(Exception):
    """The task will send no more, and has not sent all."""


class BlockPipe:
    """One task sends, one thread reads; made in the task's thread."""

    def __init__(self) -> None:
        self._sender, self._receiver = trio.open_memory_channel[bytes](_DEPTH)
        self._token = trio.lowlevel.current_trio_token()
        self._is_whole = False

    async def send(self, block: bytes) -> None:
        """Send a block, when there is room for it."""
        await self._sender.send(block)

    def finish(self) -> None:
        """Say that all was sent."""
        self._is_whole = True
        self._sender.close()

    def break_off(self) -> None:
        """Say that no more will come; after `finish` this says nothing."""
        self._sender.close()

    def stop_reading(self) -> None:
        """Let the task know that nobody reads; `send` raises trio.BrokenResourceError then."""
        self._receiver.close()

    def blocks(self) -> Iterator[bytes]:
        """Yield the blocks, in any thread but trio's.

        Raises:
            BrokenOff: they end before all were sent.
        """
        while True:
            try:
                yield trio.from_thread.run(self._receiver.receive, trio_token=self._token)
            except trio.EndOfChannel:
                break
        if not self._is_whole:
            raise BrokenOff
