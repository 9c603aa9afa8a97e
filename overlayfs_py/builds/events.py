"""What a build tells of itself while it runs: plain values, which go through pipes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from overlayfs_py.builds.misses import Miss


@dataclass(frozen=True, slots=True)
class StepName:
    """Which step it is, as people see it: `[build 2/5] RUN make`."""

    stage: int
    title: str  # of the stage; empty where there is only one
    number: int  # of those that make a layer; FROM is the first
    total: int
    text: str

    def __str__(self) -> str:
        place = f"{self.number:>{len(str(self.total))}}/{self.total}"
        return f"[{self.title + ' ' if self.title else ''}{place}] {self.text}"


@dataclass(frozen=True, slots=True)
class StepBegun:
    """A step is about to run, since it is not in the cache; or would, in a dry run."""

    name: StepName
    why: str  # it is not in the cache: one line
    miss: Miss
    parts: tuple[tuple[str, str], ...]  # of its key


@dataclass(frozen=True, slots=True)
class StepCached:
    """A step need not run."""

    name: StepName
    parts: tuple[tuple[str, str], ...] = ()
    source: str = ""  # the cache elsewhere that knew it


@dataclass(frozen=True, slots=True)
class StepDone:
    """A step that was begun has ended well."""

    name: StepName
    seconds: float
    layer: str = ""  # its diff ID


@dataclass(frozen=True, slots=True)
class Output:
    """What a command has written; both its streams, in their order."""

    stage: int
    data: bytes
    name: StepName | None = field(default=None)


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that people may want to know; no failure."""

    text: str


@dataclass(frozen=True, slots=True)
class BegunAnew:
    """All stages begin again: steps that were begun have not ended, and never will."""

    why: str


class Way(Enum):
    """Where to a part of a cache goes."""

    IMPORT = "import"
    FETCH = "fetch"
    EXPORT = "export"


@dataclass(frozen=True, slots=True)
class CacheMoved:
    """Something of a cache has come from elsewhere, or gone there."""

    way: Way
    place: str  # what the other cache is called
    text: str  # for people: `3 layers fetched, 12MB`
    steps: int = 0
    layers: int = 0
    mounts: int = 0
    size: int = 0  # bytes that were moved


Event = StepBegun | StepCached | StepDone | Output | Notice | BegunAnew | CacheMoved
