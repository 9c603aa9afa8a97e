"""A directory tree as a value: all that a user of it can see, comparable and with a readable diff.

Plan: one directory descriptor at a time. Names are single components below it, never followed,
and `..` leads back up, so a tree deeper than PATH_MAX or than the limit of open files reads too.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

OVERLAY_PRIVATE = (b"trusted.overlay.", b"user.overlay.")

_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DIGEST_BYTES = 32  # of SHA-256
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One name of a tree. None stands where a kind of object has no such value."""

    kind: str
    mode: int  # permission bits with set-id and sticky
    uid: int
    gid: int
    rdev: int
    size: int | None  # bytes; a directory's depends on the filesystem
    nlink: int | None  # a directory's depends on the filesystem
    mtime_ns: int | None  # only where asked for
    content: bytes | None  # of a file: itself while no longer than a digest, else its SHA-256
    target: bytes | None  # of a symlink
    xattrs: tuple[tuple[bytes, bytes], ...]  # sorted; POSIX ACLs are among them
    links: tuple[bytes, ...]  # of what is no directory: all paths in the tree that are this inode


Snapshot = dict[bytes, Entry]


class Sighting(NamedTuple):
    """A name where the walk stands: `at` is an address of it that is short at any depth."""

    path: bytes  # from the root of the walk, b"." for the root itself
    at: bytes
    status: os.stat_result


def snapshot(
    root: Path,
    *,
    mtime: bool = False,
    private: tuple[bytes, ...] = OVERLAY_PRIVATE,
    check_inodes: bool = True,
) -> Snapshot:
    """Read the tree below `root`, itself included as b".".

    xattrs that begin with one of `private` are left out. `check_inodes` holds every directory to
    its word: d_ino and d_type of an entry are st_ino and the type that lstat(2) says.
    """
    seen: dict[tuple[int, int], list[bytes]] = {}
    raw: dict[bytes, tuple[Entry, tuple[int, int]]] = {}
    for path, at, status in walk(root, check_inodes=check_inodes):
        identity = (status.st_dev, status.st_ino)
        seen.setdefault(identity, []).append(path)
        raw[path] = (_entry(at, status, mtime=mtime, private=private), identity)
    return {
        path: entry
        if entry.kind == "directory"
        else replace(entry, links=tuple(sorted(seen[identity])))
        for path, (entry, identity) in sorted(raw.items())
    }


def layer_state(root: Path) -> dict[bytes, tuple[object, ...]]:
    """All that a write, a read without O_NOATIME or a new link could change in a layer.

    Reading it changes nothing itself. Holds inode numbers and ctime, so it only compares with an
    earlier state of the same files. Targets of symlinks are left out: readlink(2) would set
    atime, and a new target is a new inode.
    """
    return {
        path: (
            _entry(at, status, mtime=True, private=(), untouched=True),
            *(status.st_ino, status.st_nlink, status.st_size, status.st_blocks),
            *(status.st_atime_ns, status.st_ctime_ns),
        )
        for path, at, status in walk(root, noatime=os.O_NOATIME)
    }


def layer_digest(root: Path) -> str:
    """A digest over `layer_state`: the same before and after means that the layer is untouched."""
    return hashlib.sha256(repr(sorted(layer_state(root).items())).encode()).hexdigest()


class Difference(NamedTuple):
    """One field of one path, or with `field` empty a path that one side lacks (None)."""

    path: bytes
    field: str
    left: object
    right: object

    def __str__(self) -> str:
        show: Callable[[object], str] = oct if self.field == "mode" else _brief
        return f"{self.path!r} {self.field or 'is'}: {show(self.left)} != {show(self.right)}"


def differences(left: Mapping[bytes, object], right: Mapping[bytes, object]) -> list[Difference]:
    """What differs, path by path; dataclasses are compared field by field."""
    found = []
    for path in sorted(left.keys() | right.keys()):
        mine, other = left.get(path), right.get(path)
        if mine == other:
            continue
        if _comparable(mine, other):
            found.extend(_field_differences(path, mine, other))
        else:
            found.append(Difference(path, "", mine, other))
    return found


def _comparable(left: object, right: object) -> bool:
    return is_dataclass(left) and type(left) is type(right)


def _field_differences(path: bytes, left: object, right: object) -> Iterator[Difference]:
    for field in fields(left):
        mine, other = getattr(left, field.name), getattr(right, field.name)
        if _comparable(mine, other):
            yield from _field_differences(path, mine, other)
        elif mine != other:
            yield Difference(path, field.name, mine, other)


def walk(root: Path, *, noatime: int = 0, check_inodes: bool = False) -> Iterator[Sighting]:
    """Yield the root and all names below it, each directory before what it holds.

    A sighting's `at` is only good until the next one.
    """
    yield Sighting(b".", os.fsencode(root), os.lstat(root))
    flags = _DIRECTORY_FLAGS | noatime
    here = os.open(root, flags)
    pending: list[list[bytes]] = []  # subdirectories still to visit, for each level down to here
    names: list[bytes] = []  # the components of here
    try:
        while True:
            subdirectories = []
            for sighting in _list(here, names, check_inodes=check_inodes):
                if stat.S_ISDIR(sighting.status.st_mode):
                    subdirectories.append(sighting.path.rpartition(b"/")[2])
                yield sighting
            pending.append(subdirectories)
            while pending and not pending[-1]:
                pending.pop()
                if names:
                    names.pop()
                    here = _step(here, b"..", flags)
            if not pending:
                return
            name = pending[-1].pop()
            names.append(name)
            here = _step(here, name, flags)
    finally:
        os.close(here)


def _step(here: int, name: bytes, flags: int) -> int:
    there = os.open(name, flags, dir_fd=here)
    os.close(here)
    return there


def _list(here: int, names: list[bytes], *, check_inodes: bool) -> Iterator[Sighting]:
    with os.scandir(here) as entries:
        listed = sorted(entries, key=lambda entry: os.fsencode(entry.name))
    for entry in listed:
        name = os.fsencode(entry.name)
        path = b"/".join((*names, name))
        status = os.lstat(name, dir_fd=here)
        if check_inodes:
            _require_kept_word(path, entry, status)
        # Python has no *at calls for xattrs; the descriptor's magic link is as short at any depth.
        yield Sighting(path, b"/proc/self/fd/%d/%s" % (here, name), status)


def _require_kept_word(path: bytes, entry: os.DirEntry[str], status: os.stat_result) -> None:
    said = (
        entry.inode(),
        entry.is_dir(follow_symlinks=False),
        entry.is_file(follow_symlinks=False),
        entry.is_symlink(),
    )
    mode = status.st_mode
    found = (status.st_ino, stat.S_ISDIR(mode), stat.S_ISREG(mode), stat.S_ISLNK(mode))
    assert said == found, (
        f"{path!r}: the directory says (ino, directory, file, symlink) {said}, lstat {found}"
    )


def _entry(
    at: bytes,
    status: os.stat_result,
    *,
    mtime: bool,
    private: tuple[bytes, ...],
    untouched: bool = False,
) -> Entry:
    noatime = os.O_NOATIME if untouched else 0
    kind = _KINDS[stat.S_IFMT(status.st_mode)]
    plain = kind != "directory"
    return Entry(
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        rdev=status.st_rdev,
        size=status.st_size if plain else None,
        nlink=status.st_nlink if plain else None,
        mtime_ns=status.st_mtime_ns if mtime else None,
        content=_content(at, noatime) if kind == "file" else None,
        target=os.readlink(at) if kind == "symlink" and not untouched else None,
        xattrs=_xattrs(at, private),
        links=(),
    )


def _content(at: bytes, noatime: int) -> bytes:
    with _opened(at, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | noatime) as descriptor:
        head = os.read(descriptor, _READ_BYTES)
        if len(head) <= _DIGEST_BYTES and not os.read(descriptor, 1):
            return head
        digest = hashlib.sha256()
        os.lseek(descriptor, 0, os.SEEK_SET)
        while piece := os.read(descriptor, _READ_BYTES):
            digest.update(piece)
        return digest.digest()


def _xattrs(at: bytes, private: tuple[bytes, ...]) -> tuple[tuple[bytes, bytes], ...]:
    names = (os.fsencode(name) for name in os.listxattr(at, follow_symlinks=False))
    return tuple(
        (name, os.getxattr(at, name, follow_symlinks=False))
        for name in sorted(names)
        if not name.startswith(private)
    )


def _brief(what: object) -> str:
    if not isinstance(what, Entry):
        return repr(what)
    detail = what.target if what.kind == "symlink" else what.content
    return f"{what.kind} {what.mode:04o} {what.uid}:{what.gid} {detail!r}"


@contextmanager
def _opened(at: bytes, flags: int) -> Iterator[int]:
    descriptor = os.open(at, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
