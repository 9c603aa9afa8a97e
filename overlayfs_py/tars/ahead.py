"""An iterator that runs ahead of its reader in a thread of its own.

Decompressing and hashing release the interpreter's lock, so they run beside whatever their reader
does. The queue is short: it bounds the memory, and blocks that are still in the cache cost less.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

_DEPTH = 8


class _End(NamedTuple):
    error: BaseException | None


class Ahead:
    """Iterates `blocks` in a thread, which ends with the `with` block.

    What `blocks` raises is raised to the reader, in its place. Leaving early stops the thread at
    the next block: it is not interrupted inside of one.
    """

    def __init__(self, blocks: Iterable[bytes], depth: int = _DEPTH) -> None:
        self._blocks = blocks
        self._queue: queue.Queue[bytes | _End] = queue.Queue(depth)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="read ahead", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        while self._thread.is_alive():
            # The thread may wait for room.
            while not self._queue.empty():
                self._queue.get_nowait()
            self._thread.join(0.01)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        item = self._queue.get()
        if isinstance(item, bytes):
            return item
        self._queue.put(item)  # for whoever asks again
        if item.error is not None:
            raise item.error
        raise StopIteration

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            for block in self._blocks:
                self._queue.put(block)
                if self._stopped.is_set():
                    return
        except BaseException as raised:
            error = raised
        self._queue.put(_End(error))
