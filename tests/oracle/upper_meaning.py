"""What an upper means over given lower layers: the form in which two writers' uppers compare.

Two uppers that differ in marks may say the same: an opaque mark over nothing, a whiteout of
nothing, a relative redirect instead of an absolute one. So each directory is resolved to the
place in the lower layers that it merges with.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tests.oracle.operations import when
from tests.support.uppers import UpperEntry, read_upper

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.support.snapshot import Entry

_ROOT = b""


@dataclass(frozen=True, slots=True)
class Meaning:
    """One name in an upper. Without `entry`, a whiteout of something."""

    entry: Entry | None
    merges: bytes | None = None  # a directory's place in the lower layers, if it has one there


class UpperMeaning:
    """What each name in an upper stands for; `lowers` are in the kernel's form."""

    def __init__(
        self, upper: Path, lowers: Sequence[Path], namespace: bytes, *, metacopies: bool = False
    ) -> None:
        read = read_upper(upper, namespace=namespace, metacopies=metacopies)
        self._lower = LowerDirectories(lowers, namespace)
        self._places: dict[bytes, bytes | None] = {}  # of the directories
        self.meanings: dict[bytes, Meaning] = {}
        # Files with more links than the upper has names for them.
        self.linked_elsewhere: set[bytes] = set()
        for path, found in read.items():  # sorted, so a directory comes before what it holds
            self._add(path, found)

    def _add(self, path: bytes, found: UpperEntry) -> None:
        below = self._place_below(path, found)
        entry = found.entry
        if entry is None:
            if below is not None and self._lower.find(below) is not None:
                self.meanings[path] = Meaning(None)
            return
        if entry.nlink is not None and entry.nlink > len(entry.links):
            self.linked_elsewhere.add(path)
        merges = None
        if entry.kind == "directory":
            merges = below if below is not None and self._lower.is_directory(below) else None
            self._places[path] = merges
        # The count is left out: the kernel's index is one more link.
        comparable = replace(entry, nlink=None, mtime_ns=when(entry.mtime_ns))
        self.meanings[path] = Meaning(comparable, merges)

    def _place_below(self, path: bytes, found: UpperEntry) -> bytes | None:
        """Where in the lower layers an upper's name points, whether something is there or not."""
        if path == b".":
            return _ROOT
        redirect = found.redirect
        if found.opaque:
            return None
        if redirect is not None and redirect.startswith(b"/"):
            return redirect[1:]
        directory, _, name = path.rpartition(b"/")
        parent = self._places.get(directory or b".")
        return None if parent is None else os.path.join(parent, redirect or name)

    def place_of(self, path: bytes) -> bytes | None:
        """The place in the lower layers that a path of the mounted view shows or hides."""
        if path in self._places:
            return self._places[path]
        directory, _, name = path.rpartition(b"/")
        parent = self.place_of(directory) if directory else self._places[b"."]
        return None if parent is None else os.path.join(parent, name)

    def has_lower_links(self, path: bytes) -> bool:
        """Whether a path stands over a lower file with several names."""
        place = self.place_of(path)
        found = None if place is None else self._lower.find(place)
        return found is not None and not stat.S_ISDIR(found.st_mode) and found.st_nlink > 1


class LowerDirectories:
    """Which names a stack of kernel-form layers shows."""

    def __init__(self, lowers: Sequence[Path], namespace: bytes) -> None:
        self._roots = [os.fsencode(lower) for lower in lowers]
        self._opaque = namespace + b"opaque"
        self._whiteout = namespace + b"whiteout"

    def is_directory(self, path: bytes) -> bool:
        found = self.find(path)
        return found is not None and stat.S_ISDIR(found.st_mode)

    def find(self, path: bytes) -> os.stat_result | None:
        """What the stack shows at `path`: of a merged directory the topmost, None for nothing."""
        roots = self._roots
        found: os.stat_result | None = os.lstat(roots[0])
        for name in path.split(b"/") if path else ():
            found, roots = self._step(roots, name)
        return found

    def _step(self, roots: list[bytes], name: bytes) -> tuple[os.stat_result | None, list[bytes]]:
        merged: list[bytes] = []
        top = None
        for root in roots:
            place = os.path.join(root, name)
            if not os.path.lexists(place):
                continue
            status = os.lstat(place)
            if self._is_whiteout(place, status):
                break
            if not stat.S_ISDIR(status.st_mode):
                top = top or status
                break
            top = top or status
            merged.append(place)
            if self._value(place, self._opaque) == b"y":
                break
        return top, merged

    def _is_whiteout(self, place: bytes, status: os.stat_result) -> bool:
        if stat.S_ISCHR(status.st_mode):
            return status.st_rdev == 0
        return stat.S_ISREG(status.st_mode) and self._value(place, self._whiteout) is not None

    def _value(self, place: bytes, name: bytes) -> bytes | None:
        names = os.listxattr(place, follow_symlinks=False)
        return os.getxattr(place, name) if os.fsdecode(name) in names else None
