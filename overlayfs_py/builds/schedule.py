"""Which stage is built when: as many side by side as there may be, each once what it needs is."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

from overlayfs_py.builds import workers
from overlayfs_py.builds.events import Output
from overlayfs_py.builds.workers import Broken, Ended, Told, Wanted
from overlayfs_py.errors import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from overlayfs_py.builds.events import Event
    from overlayfs_py.builds.state import StageState
    from overlayfs_py.builds.workers import Link, Message, Worker

_READABLE = select.POLLIN | select.POLLHUP


class BuildBroken(Failure):
    """A stage could not be built."""

    def __init__(self, broken: Broken) -> None:
        super().__init__(broken.text, broken.exit_code)
        self.details = broken.details
        self.kept = broken.kept
        self.layers = broken.layers
        self.is_dry = broken.is_dry
        self.gone = broken.gone


class Schedule:
    """The workers of one build."""

    def __init__(
        self, build: Callable[[int, Link], StageState], tell: Callable[[Event], None], jobs: int
    ) -> None:
        """`build` builds a stage in a worker, `tell` hears here of what happens."""
        self._build = build
        self._tell = tell
        self._jobs = jobs
        self._pending: list[int] = []
        self._workers: dict[int, Worker] = {}
        self._states: dict[int, StageState] = {}
        self._unknown: Broken | None = None  # a stage that a dry run cannot know

    def run(self, stages: Sequence[int], target: int) -> dict[int, StageState]:
        """Build stages, in this order as far as there is room, until the target is built.

        Returns what each has become that was.

        Nothing of ours runs any more when this returns or raises.

        Raises:
            BuildBroken: a stage cannot be built.
        """
        self._pending = list(stages)
        try:
            while target not in self._states:
                self._start_some()
                if self._unknown is not None and not self._busy():
                    raise BuildBroken(self._unknown)
                self._wait()
        finally:
            for worker in self._workers.values():
                worker.cancel()
            for worker in self._workers.values():
                worker.end()
        return self._states

    def _start_some(self) -> None:
        busy = self._busy()
        while self._pending and busy < self._jobs:
            self._start(self._pending.pop(0))
            busy += 1

    def _busy(self) -> int:
        return sum(worker.waits_for is None for worker in self._workers.values())

    def _start(self, index: int) -> None:
        self._workers[index] = workers.start(index, lambda link: self._build(index, link))

    def _wait(self) -> None:
        poller = select.poll()
        by_fd: dict[int, Worker] = {}
        for worker in self._workers.values():
            for fd in (worker.sock.fileno(), worker.output_fd):
                poller.register(fd, _READABLE)
                by_fd[fd] = worker
        ready = {by_fd[fd] for fd, _ in poller.poll()}
        for worker in sorted(ready, key=lambda each: each.index):
            self._heed(worker)

    def _heed(self, worker: Worker) -> None:
        data = worker.output()
        if data:
            self._tell(Output(worker.index, data))
        if not select.select([worker.sock], [], [], 0)[0]:
            return
        messages = worker.messages()
        if messages is None:
            del self._workers[worker.index]
            raise Failure(f"a process of the build ended: status {worker.end()}")
        for message in messages:
            # What a command wrote comes before the word that it has ended.
            data = worker.output()
            if data:
                self._tell(Output(worker.index, data))
            self._take(worker, message)

    def _take(self, worker: Worker, message: Message) -> None:
        match message:
            case Told(event):
                self._tell(event)
            case Wanted(stage):
                self._want(worker, stage)
            case Ended(state):
                del self._workers[worker.index]
                worker.end()
                self._states[worker.index] = state
                for other in self._workers.values():
                    if other.waits_for == worker.index:
                        other.answer(state)
            case Broken(is_dry=True):
                del self._workers[worker.index]
                worker.end()
                self._unknown = message
            case Broken():
                raise BuildBroken(message)

    def _want(self, worker: Worker, stage: int) -> None:
        if stage in self._states:
            worker.answer(self._states[stage])
            return
        worker.waits_for = stage
        if stage not in self._workers:
            # Nobody else may free a place for it. One that ONBUILD asks for was in no plan.
            if stage in self._pending:
                self._pending.remove(stage)
            self._start(stage)
