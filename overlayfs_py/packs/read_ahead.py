"""Chunks that will be wanted next, loaded in a thread while somebody reads what came before.

Who reads small files one after the other waits for each: meanwhile one processor has nothing to
do. Reading, verifying and decompressing are all done outside of the interpreter's lock.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from overlayfs_py.packs.chunks import Chunks

# Guess: as far as one thread gets while a reader works through a chunk.
DEPTH = 4
# Never reached, but by a process that was forked while the thread worked: the thread is not there.
_LONGEST_S = 2.0


class _Task(NamedTuple):
    chunks: Chunks
    number: int
    running: threading.Lock  # held until it is done


class ReadAhead:
    """One thread for all packs of a process, started when it is first needed."""

    def __init__(self) -> None:
        self._wanted: SimpleQueue[tuple[Chunks, int]] = SimpleQueue()
        self._task: _Task | None = None
        self._started = False

    def want(self, chunks: Chunks, numbers: range) -> None:
        """Have some chunks of a pack loaded into its cache, in this order."""
        if not self._started:
            self._started = True
            threading.Thread(target=self._work, name="read-ahead", daemon=True).start()
        for number in numbers:
            self._wanted.put((chunks, number))

    def wait_for(self, chunks: Chunks, number: int | None = None, seconds: float = -1) -> bool:
        """Wait while a chunk is being loaded, any of the pack's if no number is given.

        Whether it was; False too where it takes longer than `seconds`.
        """
        task = self._task
        if task is None or task.chunks is not chunks or number not in (None, task.number):
            return False
        if not task.running.acquire(timeout=_LONGEST_S if seconds < 0 else seconds):
            return False
        task.running.release()
        return True

    def is_loading(self, chunks: Chunks, number: int) -> bool:
        """Whether a chunk is being loaded at this moment."""
        task = self._task
        return task is not None and task.number == number and task.chunks is chunks

    def _work(self) -> None:
        while True:
            chunks, number = self._wanted.get()
            running = threading.Lock()
            with running:
                self._task = _Task(chunks, number, running)
                chunks.load_ahead(number)
                self._task = None
            del chunks
