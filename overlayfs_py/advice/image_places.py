"""Every path that the layers of an image have ever shown, and what each layer did to it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from overlayfs_py.advice.image_facts import FileFact, LayerFacts


class Change(Enum):
    """What a layer did to a path; the letters are docker's."""

    NONE = " "
    ADDED = "A"
    CHANGED = "C"
    REMOVED = "D"


class Event(NamedTuple):
    """What a path shows from one layer on; None: nothing."""

    layer: int
    fact: FileFact | None


@dataclass(eq=False, slots=True)
class Place:
    """A path and what is below it."""

    name: bytes
    above: Place | None
    events: list[Event] = field(default_factory=list)  # by layer, at most two of one
    below: dict[bytes, Place] = field(default_factory=dict)

    @property
    def path(self) -> bytes:
        """With a slash in front."""
        names: list[bytes] = []
        here: Place | None = self
        while here is not None and here.above is not None:
            names.append(here.name)
            here = here.above
        return b"/" + b"/".join(reversed(names))

    def at(self, layer: int) -> FileFact | None:
        """What is shown with all layers up to one."""
        fact = None
        for event in self.events:
            if event.layer > layer:
                break
            fact = event.fact
        return fact

    def change(self, layer: int) -> Change:
        """What a layer did to it; a directory that is only named again has not changed."""
        if not any(event.layer == layer for event in self.events):
            return Change.NONE
        before, after = self.at(layer - 1), self.at(layer)
        if after is None:
            return Change.NONE if before is None else Change.REMOVED
        if before is None:
            return Change.ADDED
        return Change.NONE if _is_same_directory(before, after) else Change.CHANGED

    def hidden_by(self, layer: int) -> int | None:
        """The later layer that deletes or replaces what this one shows; None: none does."""
        shown = self.at(layer)
        if shown is None or shown.is_directory:
            return None
        return next((event.layer for event in self.events if event.layer > layer), None)


def _is_same_directory(one: FileFact, two: FileFact) -> bool:
    return (
        one.is_directory
        and two.is_directory
        and (one.mode, one.uid, one.gid) == (two.mode, two.uid, two.gid)
    )


class Seen(NamedTuple):
    """A path as a view of one layer has it."""

    change: Change
    size: int  # bytes of it and all below; a file with several names counts once
    changes_below: int  # how many paths below it the layer has changed


class ImagePlaces:
    """All paths of an image, from the layers' own lists."""

    def __init__(self, layers: Sequence[LayerFacts]) -> None:
        """Take the layers, lowest first."""
        self.root = Place(b"", None)
        self._names: Counter[tuple[int, int]] = Counter()
        self._hidden: Counter[tuple[int, int]] = Counter()
        self._sizes: dict[tuple[int, int], int] = {}
        for layer in layers:
            for path in layer.deleted:
                self._remove(self._find(path), layer.at)
            for path in layer.opaque:
                place = self._find(path)
                for child in () if place is None else place.below.values():
                    self._remove(child, layer.at)
            for fact in layer.files:
                self._put(fact)

    def wasted(self, layers: int) -> list[int]:
        """For each of so many layers the bytes in it that later layers hide."""
        found = [0] * layers
        for key, hidden in self._hidden.items():
            if hidden == self._names[key]:
                found[key[0]] += self._sizes[key]
        return found

    def seen(self, layer: int, *, is_whole: bool) -> Mapping[Place, Seen]:
        """What there is to see of a layer: what it changes, or all that shows with it on top."""
        return _View(layer, is_whole=is_whole).of(self.root)

    def _find(self, path: bytes) -> Place | None:
        place: Place | None = self.root
        for name in path.split(b"/"):
            place = None if place is None else place.below.get(name)
        return place

    def _put(self, fact: FileFact) -> None:
        place = self.root
        for name in fact.path.split(b"/"):
            below = place.below.get(name)
            if below is None:
                below = place.below[name] = Place(name, place)
            place = below
        before = place.events[-1].fact if place.events else None
        if before is not None and not (before.is_directory and fact.is_directory):
            self._hide(before)
            for child in place.below.values():
                self._remove(child, fact.at)
        place.events.append(Event(fact.at, fact))
        if fact.is_regular:
            self._names[fact.key] += 1
            self._sizes[fact.key] = fact.size

    def _remove(self, top: Place | None, layer: int) -> None:
        pending = [] if top is None else [top]
        while pending:
            place = pending.pop()
            pending += place.below.values()
            if place.events and (fact := place.events[-1].fact) is not None:
                self._hide(fact)
                place.events.append(Event(layer, None))

    def _hide(self, fact: FileFact) -> None:
        if fact.is_regular:
            self._hidden[fact.key] += 1


class _View:
    """Adds up one view, from below."""

    def __init__(self, layer: int, *, is_whole: bool) -> None:
        self._layer = layer
        self._is_whole = is_whole
        self._counted: set[tuple[int, int]] = set()
        self._seen: dict[Place, Seen] = {}

    def of(self, root: Place) -> Mapping[Place, Seen]:
        # A directory comes before what is in it, so backwards everything below is done first.
        order = [root]
        for place in order:
            order += place.below.values()
        for place in reversed(order):
            self._look(place)
        return self._seen

    def _look(self, place: Place) -> None:
        size = changes = 0
        for child in place.below.values():
            seen = self._seen.get(child)
            if seen is not None:
                size += seen.size
                changes += seen.changes_below + (seen.change is not Change.NONE)
        change = place.change(self._layer)
        fact = place.at(self._layer)
        is_shown = fact is not None and self._is_whole
        if not (is_shown or changes or change is not Change.NONE or place.above is None):
            return
        if fact is not None and (self._is_whole or fact.at == self._layer):
            size += self._once(fact)
        self._seen[place] = Seen(change, size, changes)

    def _once(self, fact: FileFact) -> int:
        if fact.key in self._counted:
            return 0
        self._counted.add(fact.key)
        return fact.size
