"""A process that reads and writes a file in random ways, and compares it with the model."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.coherence.model import ALL, PAGE_UNITS, SIZE, UNIT, UNITS, Model, Units, content
from tests.coherence.views import Views

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
_POPULATE_READ = 22  # madvise(2), Linux 5.14: unlike a load it cannot be answered with SIGBUS
_MOST_UNITS = 24

READS = (
    Views.read_buffered,
    Views.read_mapped,
    Views.read_private,
    Views.read_direct,
    Views.read_async,
    Views.read_sent,
    Views.read_spliced,
    Views.read_copied,
)
WRITES = (
    Views.write_buffered,
    Views.write_mapped,
    Views.write_sent,
    Views.write_spliced,
    Views.write_copied,
)
# Beside others' stores to the same page, open(2) promises nothing of O_DIRECT: whole pages.
PAGE_WRITES = (Views.write_direct, Views.write_async, Views.write_direct_from_mapping)
HOLES = (Views.punch, Views.zero, Views.zero_keeping_size)
GROWTHS = (
    Views.grow_by_truncate,
    Views.grow_by_name,
    Views.grow_by_write,
    Views.grow_by_append,
    Views.grow_by_direct,
    Views.grow_by_async,
    Views.grow_by_allocation,
    Views.grow_by_copy,
)
# Of a file that others change behind the mount: a mapping is not refreshed, nor seen by them.
BEHIND_READS = (
    Views.read_buffered,
    Views.read_direct,
    Views.read_async,
    Views.read_sent,
    Views.read_spliced,
)
BEHIND_WRITES = (Views.write_buffered, Views.write_sent, Views.write_spliced, Views.write_copied)


class Mismatch(AssertionError):
    """A file does not hold what the model says."""


class Worker:
    """One process; `behind`: others, or itself, change the file behind the mount."""

    def __init__(
        self, model: Model, views: Views, seed: int, missing: Iterable[str], *, behind: bool
    ) -> None:
        self._model = model
        self._views = views
        self._random = random.Random(seed)
        self._missing = frozenset(missing)  # what the filesystem does not have
        self._behind = behind
        self.counts: Counter[str] = Counter()

    def work(self, until: float) -> None:
        weights = [10, 5, 3, 1, 0 if self._behind else 1, 0.3, 6]
        actions = [
            self._read,
            self._write,
            self._write_pages,
            self._hole,
            self._copy_within,
            self._cut,
            self._look,
        ]
        while time.monotonic() < until:
            (action,) = self._random.choices(actions, weights)
            action()

    def _some(self, most: int = _MOST_UNITS) -> Units:
        first = self._random.randrange(UNITS)
        return Units(first, min(UNITS, first + self._random.randint(1, most)))

    def _read(self) -> None:
        way = self._random.choice(BEHIND_READS if self._behind else READS)
        units = self._some()
        with self._model.held(self._looked_at(units), shared=True):
            self.compare(way.__name__, units, way(self._views, units))

    def _looked_at(self, units: Units) -> Units:
        """What must not change while units are read.

        A write(2) behind the mount sets the file's time first and moves the data then. Pages that
        the kernel reads ahead in between go by the new time, and are held to be new.
        """
        return ALL if self._behind else units

    def compare(self, way: str, units: Units, found: bytes) -> None:
        self.counts[way] += 1
        expected = content(self._model.stamps(units))
        if found != expected:
            raise Mismatch(_describe(way, units, found, expected))

    def _write(self) -> None:
        ways = BEHIND_WRITES if self._behind else WRITES
        self._change(self._random.choice(ways), self._some())

    def _write_pages(self) -> None:
        self._change(self._random.choice(PAGE_WRITES), self._some().whole_pages())

    def _change(self, way: Callable[[Views, Units, bytes], None], units: Units) -> None:
        stamps = self._model.new_stamps(units)
        with self._model.held(units):
            way(self._views, units, content(stamps))
            self._model.set(units, stamps)
        self.counts[way.__name__] += 1

    def _hole(self) -> None:
        way, units = self._random.choice(HOLES), self._some()
        if way.__name__ in self._missing:
            return
        with self._model.held(units):
            way(self._views, units)
            self._model.clear(units)
        self.counts[way.__name__] += 1

    def _copy_within(self) -> None:
        units = self._some(2 * _MOST_UNITS)
        half = (units.end - units.first) // 2
        if half == 0:
            return
        parts = Units(units.first, units.first + half), Units(units.end - half, units.end)
        source, target = self._random.sample(parts, 2)
        with self._model.held(units):
            self._views.copy_within(source, target)
            self._model.set(target, self._model.stamps(source))
        self.counts["copy_within"] += 1

    def _cut(self) -> None:
        """Shorten the file and let it grow again."""
        way = self._random.choice(GROWTHS)
        if way.__name__ in self._missing:
            return
        tail = Units(self._random.choice([0, self._random.randrange(UNITS)]), UNITS)
        if way in (Views.grow_by_direct, Views.grow_by_async):
            tail = Units(min(tail.first, UNITS - PAGE_UNITS), UNITS)
        with self._model.held(tail):
            self._shorten(tail)
            way(self._views, tail)
            size = os.fstat(self._views.fd).st_size
            if size != SIZE:
                raise Mismatch(f"{way.__name__} from {tail.offset} made it {size} bytes long")
            self._model.clear(tail)
        self.counts[way.__name__] += 1

    def _shorten(self, tail: Units) -> None:
        view = self._views
        if tail.first == 0:
            os.close(os.open(view.path, os.O_WRONLY | os.O_TRUNC))
            return
        os.ftruncate(view.fd, tail.offset + self._random.randrange(UNIT))
        os.ftruncate(view.fd, tail.offset)

    def _look(self) -> None:
        """Read without a lock, comparing nothing: it fills the cache in the middle of changes."""
        if self._behind:
            return
        units, view = self._some(UNITS), self._views
        way = self._random.randrange(5)
        if way == 0:
            os.posix_fadvise(view.fd, units.offset, units.size, os.POSIX_FADV_DONTNEED)
        elif way == 1:
            os.posix_fadvise(view.fd, units.offset, units.size, os.POSIX_FADV_WILLNEED)
        elif way == 2:
            pages = units.whole_pages()
            # EFAULT: the file is shorter at the moment.
            with suppress(OSError):
                view.map.madvise(_POPULATE_READ, pages.offset, pages.size)
        elif way == 3:
            os.fstat(view.fd)
        else:
            view.read_buffered(units)
        self.counts["look"] += 1


def settle(model: Model, views: Views, host_file: str, *, times: bool) -> None:
    """Compare the file behind the mount with the model, and what both show of it."""
    with model.held(ALL):
        os.fsync(views.fd)
        shown = os.fstat(views.fd)
        with open(host_file, "rb") as file:
            found, real = file.read(), os.fstat(file.fileno())
        expected = content(model.stamps(ALL))
        if found != expected:
            raise Mismatch("behind the mount: " + _describe("file", ALL, found, expected))
        names = ["st_size", "st_mtime_ns", "st_ctime_ns"] if times else ["st_size"]
        for name in names:
            if getattr(shown, name) != getattr(real, name):
                raise Mismatch(f"{name} is {getattr(real, name)}, shown {getattr(shown, name)}")


def _describe(way: str, units: Units, found: bytes, expected: bytes) -> str:
    for number in range(units.end - units.first):
        place = slice(number * UNIT, (number + 1) * UNIT)
        if found[place] != expected[place]:
            return (
                f"{way} of units {units.first} to {units.end}: unit {units.first + number} holds "
                f"{_stamp(found[place])} instead of {_stamp(expected[place])}"
            )
    return f"{way} of units {units.first} to {units.end}: {len(found)} bytes"


def _stamp(data: bytes) -> str:
    values = sorted({data[at : at + 8] for at in range(0, len(data), 8)})
    return "+".join(f"{int.from_bytes(value, 'little'):x}" for value in values[:4]) or "nothing"
