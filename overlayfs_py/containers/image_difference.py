"""What differs between the files of two images."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from overlayfs_py.packs.difference import steps_of_data

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.containers.image_files import ImageFile, ImageFiles, Path


class Kind(Enum):
    """What became of a path; the letters are docker's."""

    ADDED = "A"
    CHANGED = "C"
    DELETED = "D"


@dataclass(frozen=True, slots=True)
class Difference:
    """A path that differs, and for a changed one in what."""

    kind: Kind
    path: Path
    parts: tuple[str, ...] = ()
    before: ImageFile | None = None
    after: ImageFile | None = None


# By their names in attributes: what they are called.
_PARTS = {name: name for name in ("mode", "uid", "gid", "rdev", "size", "mtime_ns")} | {
    "rdev": "device"
}


def differences(before: ImageFiles, after: ImageFiles) -> Iterator[Difference]:
    """Yield every path that differs, in the order of a walk; the root itself among them.

    A directory counts as changed for its own attributes only, not for what is in it. Sizes and
    times of directories are those of the builder's disk, and are left out.
    """
    old, new = before.walk(), after.walk()
    one, two = next(old, None), next(new, None)
    while one is not None or two is not None:
        if two is None or (one is not None and one.path < two.path):
            assert one is not None
            yield Difference(Kind.DELETED, one.path, before=one)
            one = next(old, None)
        elif one is None or two.path < one.path:
            yield Difference(Kind.ADDED, two.path, after=two)
            two = next(new, None)
        else:
            parts = tuple(_differing(before, one, after, two))
            if parts:
                yield Difference(Kind.CHANGED, one.path, parts, one, two)
            one, two = next(old, None), next(new, None)


def _differing(
    before: ImageFiles, one: ImageFile, after: ImageFiles, two: ImageFile
) -> Iterator[str]:
    old, new = one.attributes, two.attributes
    if stat.S_IFMT(old.mode) != stat.S_IFMT(new.mode):
        yield "type"
        return
    ignored = {"size", "mtime_ns"} if stat.S_ISDIR(old.mode) else set()
    changed = [
        told
        for part, told in _PARTS.items()
        if part not in ignored and getattr(old, part) != getattr(new, part)
    ]
    yield from changed
    # A file that the same layer shows in both is one file; a directory may be merged of several.
    if one.layer == two.layer and not changed and not stat.S_ISDIR(old.mode):
        return
    if stat.S_ISLNK(old.mode) and before.read_link(one) != after.read_link(two):
        yield "target"
    is_comparable = stat.S_ISREG(old.mode) and "size" not in changed
    if is_comparable and not same_content(before, one, after, two):
        yield "content"
    if before.xattrs(one) != after.xattrs(two):
        yield "xattrs"


def same_content(before: ImageFiles, one: ImageFile, after: ImageFiles, two: ImageFile) -> bool:
    """Whether two regular files of one size hold the same."""
    places = steps_of_data(before.data_ranges(one), after.data_ranges(two))
    return all(before.read(one, *place) == after.read(two, *place) for place in places)
