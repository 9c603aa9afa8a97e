"""An upper directory as a value: what it says about the union, whoever wrote it.

Whiteouts, opaque marks and redirects become fields; what overlay implementations note for
themselves (origin, impure, nlink, protattr, uuid) is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tests.support.snapshot import Entry, snapshot

if TYPE_CHECKING:
    from pathlib import Path

TRUSTED = b"trusted.overlay."
USER = b"user.overlay."

# Optional for a reader: fs/overlayfs/overlayfs.h, enum ovl_xattr.
_NOTES = (b"origin", b"impure", b"nlink", b"protattr", b"uuid")
_ESCAPE = b"overlay."  # a user's own trusted.overlay.x is kept as trusted.overlay.overlay.x


@dataclass(frozen=True, slots=True)
class UpperEntry:
    """One name in an upper. Without `entry` it is a whiteout."""

    entry: Entry | None
    opaque: bool = False
    redirect: bytes | None = None  # as written: one name, or absolute from the union's root


Upper = dict[bytes, UpperEntry]


def read_upper(
    upper: Path, *, namespace: bytes = TRUSTED, mtime: bool = True, metacopies: bool = False
) -> Upper:
    """Read an upper written in `namespace`; the content of a metacopy is None.

    Raises:
        AssertionError: it holds what none of our mounts may write: a metacopy where there should
            be none, an unknown mark, a mark on something that is no directory, a whiteout in an
            opaque directory.
    """
    tree = snapshot(upper, mtime=mtime, private=(), check_inodes=False)
    entries = {
        path: _read_entry(path, entry, namespace, metacopies=metacopies)
        for path, entry in tree.items()
    }
    for path, found in entries.items():
        parent = entries[path.rpartition(b"/")[0] or b"."]
        assert found.entry is not None or not parent.opaque, (
            f"{path!r} is a whiteout inside an opaque directory"
        )
    return entries


def _read_entry(path: bytes, entry: Entry, namespace: bytes, *, metacopies: bool) -> UpperEntry:
    if entry.kind == "character device" and entry.rdev == 0:
        return UpperEntry(None)
    marks: dict[bytes, bytes] = {}
    kept = []
    for name, value in entry.xattrs:
        if not name.startswith(namespace):
            kept.append((name, value))
        elif name.startswith(namespace + _ESCAPE):
            kept.append((namespace + name.removeprefix(namespace + _ESCAPE), value))
        else:
            marks[name.removeprefix(namespace)] = value
    if metacopies and entry.kind == "file":
        if marks.pop(b"metacopy", None) is not None:
            entry = replace(entry, content=None)
        marks.pop(b"redirect", None)  # the kernel leaves it where the data has come
    _require_known(path, entry, marks)
    return UpperEntry(
        replace(entry, xattrs=tuple(kept)),
        opaque=marks.get(b"opaque") == b"y",
        redirect=marks.get(b"redirect"),
    )


def _require_known(path: bytes, entry: Entry, marks: dict[bytes, bytes]) -> None:
    unknown = marks.keys() - {b"opaque", b"redirect", *_NOTES}
    assert not unknown, f"{path!r} carries {sorted(unknown)}"
    # "x" says that the directory may hold xattr whiteouts, which nobody writes to an upper.
    assert marks.get(b"opaque", b"y") == b"y", f"{path!r} is opaque={marks[b'opaque']!r}"
    if entry.kind != "directory":
        # The kernel puts a redirect on a file only for metacopy.
        assert not marks.keys() & {b"opaque", b"redirect"}, f"{path!r} carries {sorted(marks)}"
