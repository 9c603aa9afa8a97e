"""What a build tells of itself while it runs: plain values, which go through pipes."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from msgspec import Struct, field

if TYPE_CHECKING:
    from overlayfs_py.builds.misses import Miss


class StepName(Struct, frozen=True):
    """Which step it is, as people see it: `[build 2/5] RUN make`."""

    stage: int
    title: str  # of the stage; empty where there is only one
    number: int  # of those that make a layer; FROM is the first
    total: int
    text: str

    def __str__(self) -> str:
        place = f"{self.number:>{len(str(self.total))}}/{self.total}"
        return f"[{self.title + ' ' if self.title else ''}{place}] {self.text}"


class StepBegun(Struct, frozen=True):
    """A step is about to run, since it is not in the cache; or would, in a dry run."""

    name: StepName
    why: str  # it is not in the cache: one line
    miss: Miss
    parts: tuple[tuple[str, str], ...]  # of its key


class StepCached(Struct, frozen=True):
    """A step need not run."""

    name: StepName
    parts: tuple[tuple[str, str], ...] = ()
    source: str = ""  # the cache elsewhere that knew it


class StepDone(Struct, frozen=True):
    """A step that was begun has ended well."""

    name: StepName
    seconds: float
    layer: str = ""  # its diff ID


class Output(Struct, frozen=True):
    """What a command has written; both its streams, in their order."""

    stage: int
    data: bytes
    name: StepName | None = field(default=None)


class Notice(Struct, frozen=True):
    """Something that people may want to know; no failure."""

    text: str


class BegunAnew(Struct, frozen=True):
    """All stages begin again: steps that were begun have not ended, and never will."""

    why: str


class Way(Enum):
    """Where to a part of a cache goes."""

    IMPORT = "import"
    FETCH = "fetch"
    EXPORT = "export"


class CacheMoved(Struct, frozen=True):
    """Something of a cache has come from elsewhere, or gone there."""

    way: Way
    place: str  # what the other cache is called
    text: str  # for people: `3 layers fetched, 12MB`
    steps: int = 0
    layers: int = 0
    mounts: int = 0
    size: int = 0  # bytes that were moved


Event = StepBegun | StepCached | StepDone | Output | Notice | BegunAnew | CacheMoved
