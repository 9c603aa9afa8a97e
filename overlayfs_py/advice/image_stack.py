"""What layers show together, and what lies in one that a later one hides: bytes for nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from overlayfs_py.advice.image_facts import FileFact, LayerFacts


@dataclass(frozen=True, slots=True)
class Hidden:
    """A file that a later layer deletes or replaces."""

    fact: FileFact
    by: int  # the later layer
    top: bytes  # what that deletes: the file itself, or a directory above it
    replaced: FileFact | None  # what stands in its place
    size: int  # bytes that nothing shows any more; 0 while another name of the file shows


@dataclass(slots=True)
class _Place:
    """A path, and what shows there."""

    fact: FileFact | None = None
    below: dict[bytes, _Place] = field(default_factory=dict)


class ImageStack:
    """The layers of an image, put on top of one another."""

    def __init__(self, layers: Sequence[LayerFacts]) -> None:
        """Take the layers, lowest first."""
        self._root = _Place()
        self._names: Counter[tuple[int, int]] = Counter()
        self.hidden: list[Hidden] = []
        for layer in layers:
            for path in layer.deleted:
                self._delete(path, layer.at)
            for path in layer.opaque:
                self._empty(path, layer.at)
            for fact in layer.files:
                self._put(fact)

    def visible(self) -> Iterator[FileFact]:
        """Yield what shows, directories too."""
        pending = [self._root]
        while pending:
            place = pending.pop()
            if place.fact is not None:
                yield place.fact
            pending += place.below.values()

    def _find(self, path: bytes) -> _Place | None:
        place: _Place | None = self._root
        for name in path.split(b"/"):
            place = None if place is None else place.below.get(name)
        return place

    def _delete(self, path: bytes, by: int) -> None:
        place = self._find(path)
        if place is not None:
            self._hide(place, by, path)
            above, _, name = path.rpartition(b"/")
            parent = self._find(above) if above else self._root
            assert parent is not None
            del parent.below[name]

    def _empty(self, path: bytes, by: int) -> None:
        place = self._find(path)
        if place is not None:
            for below in place.below.values():
                self._hide(below, by, path)
            place.below.clear()

    def _put(self, fact: FileFact) -> None:
        place = self._root
        for name in fact.path.split(b"/"):
            place = place.below.setdefault(name, _Place())
        before = place.fact
        if before is not None and not (before.is_directory and fact.is_directory):
            self._hide(place, fact.at, fact.path, fact)
            place.below.clear()
        place.fact = fact
        self._names[fact.key] += 1

    def _hide(self, top: _Place, by: int, path: bytes, replaced: FileFact | None = None) -> None:
        pending = [top]
        while pending:
            place = pending.pop()
            pending += place.below.values()
            fact = place.fact
            if fact is None:
                continue
            self._names[fact.key] -= 1
            if not fact.is_directory:
                size = 0 if self._names[fact.key] else fact.size
                self.hidden.append(Hidden(fact, by, path, replaced, size))
