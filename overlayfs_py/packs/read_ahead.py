"""Chunks that will be wanted next, loaded in a thread while somebody reads what came before.

Who reads small files one after the other waits for each: meanwhile one processor has nothing to
do. Reading, verifying and decompressing are all done outside of the interpreter's lock.
"""

from __future__ import annotations

import os
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

from overlayfs_py.named_tuple import NamedTuple

if TYPE_CHECKING:
    from overlayfs_py.packs.chunks import Chunks

# Guess: as far as one thread gets while a reader works through a chunk.
DEPTH = 4
# Who waits loads the chunk himself then: it is not there sooner from a disk that takes so long.
_LONGEST_S = 2.0


class _Task(NamedTuple):
    chunks: Chunks
    number: int
    running: threading.Lock  # held until it is done


class ReadAhead:
    """One thread for all packs of a process, started when it is first needed."""

    def __init__(self) -> None:
        self._wanted: SimpleQueue[tuple[Chunks, int] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._task: _Task | None = None
        self._process = 0  # the one that has the thread: a forked one has not

    def want(self, chunks: Chunks, numbers: range) -> None:
        """Have some chunks of a pack loaded into its cache, in this order."""
        if self._process != os.getpid():
            self._start()
        for number in numbers:
            self._wanted.put((chunks, number))

    def wait_for(
        self, chunks: Chunks, number: int | None = None, seconds: float | None = None
    ) -> None:
        """Wait while a chunk is being loaded, any of the pack's if no number is given.

        Gives up after `seconds`, or a time that no disk should take.
        """
        task = self._task
        if task is None or task.chunks is not chunks or number not in (None, task.number):
            return
        if task.running.acquire(timeout=_LONGEST_S if seconds is None else seconds):
            task.running.release()

    def stop(self) -> None:
        """End the thread, if this process has it; who wants chunks afterwards starts another."""
        if self._process == os.getpid() and self._thread is not None:
            self._wanted.put(None)
            self._thread.join()
            self._process = 0

    def is_loading(self, chunks: Chunks, number: int) -> bool:
        """Whether a chunk is being loaded at this moment."""
        task = self._task
        return task is not None and task.number == number and task.chunks is chunks

    def _start(self) -> None:
        self._process = os.getpid()
        self._task = None
        self._wanted = SimpleQueue()
        self._thread = threading.Thread(
            target=self._work, args=(self._wanted,), name="read-ahead", daemon=True
        )
        self._thread.start()

    def _work(self, wanted: SimpleQueue[tuple[Chunks, int] | None]) -> None:
        while (task := wanted.get()) is not None:
            chunks, number = task
            running = threading.Lock()
            with running:
                self._task = _Task(chunks, number, running)
                chunks.load_ahead(number)
                self._task = None
            del chunks, task  # a pack that was closed is not held until the next one is read
