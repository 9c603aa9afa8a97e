"""What of the selected files a step's result depends on, and nothing else.

No time, no path of the context, no order in which a filesystem lists names. Each path has named
parts, so that two fingerprints tell which path differs first, and in what.
"""

from __future__ import annotations

import hashlib
import stat
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from overlayfs_py.builds.contents import digest_of_content, digest_of_xattrs
from overlayfs_py.builds.context import shown
from overlayfs_py.builds.modes import AS_IT_IS, Mode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from overlayfs_py.builds.context import Context, Item
    from overlayfs_py.builds.selection import Selected
    from overlayfs_py.builds.stat_cache import StatCache

_VERSION = 1
_NAMES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "FIFO",
    stat.S_IFSOCK: "socket",
}


class Row(msgspec.Struct, frozen=True, array_like=True):
    """The parts of one path. What does not count, or does not apply, is empty."""

    path: bytes  # in the context
    kind: int  # S_IF*
    mode: int  # permission bits; -1 where `--chmod` decides
    uid: int  # -1 where `--chown` decides
    gid: int
    content: bytes  # SHA-256 of a file's data, a link's target, a device's number
    xattrs: bytes  # SHA-256 of all, empty if there are none
    linked: int  # which row has the same file, counted from 1; 0: none before


class Fingerprint(Struct, frozen=True, dict=True):
    """All selected paths, in the order in which they are copied."""

    rows: tuple[Row, ...]

    @cached_property
    def digest(self) -> str:
        """What all of it comes to: `sha256:` and hex digits."""
        return f"sha256:{hashlib.sha256(self.table()).hexdigest()}"

    def table(self) -> bytes:
        """Return the rows, in a form that stays the same: MessagePack, so every part is framed."""
        return msgspec.msgpack.encode((_VERSION, self.rows))


def fingerprint(
    selected: Sequence[Selected],
    *,
    mode: Mode = AS_IT_IS,
    owned: bool = False,
    stats: StatCache | None = None,
) -> Fingerprint:
    """Return what the selected files are.

    Args:
        selected: from `select`.
        mode: that of `--chmod`: an octal one makes the files' own count for nothing.
        owned: an owner is given, so that the files' own count for nothing.
        stats: knows files that have not changed since they were read; it learns the others.

    Raises:
        ChangedMeanwhile, BadContext: a file cannot be read as it was seen.
    """
    rows: list[Row] = []
    for each in selected:
        linked: dict[object, int] = {}
        for entry in each.entries:
            rows.append(_row(each.context, entry.item, mode, stats, owned=owned))
            if entry.item.links > 1 and entry.item.is_file:
                first = linked.setdefault(entry.item.inode, len(rows))
                if first != len(rows):
                    rows[-1] = msgspec.structs.replace(rows[-1], linked=first)
    return Fingerprint(tuple(rows))


def difference(old_table: bytes, new_table: bytes) -> str | None:
    """Return the first path that differs, by name, and how: `src/app.py: content`.

    None where nothing does, or a table is of another version.
    """
    old, new = _rows(old_table), _rows(new_table)
    if old is None or new is None:
        return None
    for path in sorted(old.keys() | new.keys()):
        name = shown((path,)) if path else "."
        if path not in old:
            return f"{name}: new"
        if path not in new:
            return f"{name}: gone"
        if told := _differing(old[path], new[path]):
            return f"{name}: {told}"
    return None


def _rows(table: bytes) -> dict[bytes, Row] | None:
    try:
        version, rows = msgspec.msgpack.decode(table, type=tuple[int, tuple[Row, ...]])
    except msgspec.DecodeError:
        return None
    return {row.path: row for row in rows} if version == _VERSION else None


def _differing(old: Row, new: Row) -> str:
    if old.kind != new.kind:
        return f"{_NAMES[new.kind]}, was {_NAMES[old.kind]}"
    if old.content != new.content:
        return "target" if new.kind == stat.S_IFLNK else "content"
    if old.mode != new.mode:
        if -1 in {old.mode, new.mode}:
            return "--chmod"
        return f"mode {new.mode:o}, was {old.mode:o}"
    if (old.uid, old.gid) != (new.uid, new.gid):
        if -1 in {old.uid, new.uid}:
            return "--chown"
        return f"owner {new.uid}:{new.gid}, was {old.uid}:{old.gid}"
    if old.xattrs != new.xattrs:
        return "xattrs"
    return "hard links" if bool(old.linked) != bool(new.linked) else ""


def _row(context: Context, item: Item, mode: Mode, stats: StatCache | None, *, owned: bool) -> Row:
    kind = stat.S_IFMT(item.mode)
    bits = stat.S_IMODE(item.mode)
    if mode.octal is not None or kind == stat.S_IFLNK:
        bits = -1
    uid, gid = (-1, -1) if owned else (item.uid, item.gid)
    content = xattrs = b""
    if kind == stat.S_IFREG:
        known = digest_of_content(context, item, stats)
        content, xattrs = known.content, known.xattrs
    else:
        if kind == stat.S_IFLNK:
            content = context.read_link(item)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            content = b"%d" % item.rdev
        if kind != stat.S_IFSOCK:
            xattrs = digest_of_xattrs(context.xattrs(item))
    return Row(b"/".join(item.path), kind, bits, uid, gid, content, xattrs, 0)
