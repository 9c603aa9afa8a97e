"""An entry's header and extended headers, put together into what a layer means by them. No IO."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from overlayfs_py.tars.header import require_device, require_owner
from overlayfs_py.tars.members import Kind, Member
from overlayfs_py.tars.numbers import parse_decimal, parse_time_ns
from overlayfs_py.tars.paths import OPAQUE_NAME, PRIVATE_PREFIX, WHITEOUT_PREFIX, parse_path
from overlayfs_py.tars.pax import is_xattr, xattrs_of

if TYPE_CHECKING:
    from overlayfs_py.tars.header import Header
    from overlayfs_py.tars.paths import Path
    from overlayfs_py.tars.pax import Records

_SECOND_NS = 1_000_000_000
_LONGEST_TARGET = 4095  # PATH_MAX with its NUL
_MOST_GLOBAL_BYTES = 1 << 20
# A global record of one of these would give every entry the same name or size: POSIX leaves open
# what that means, and readers differ.
_ONE_ENTRY_ONLY = (b"path", b"linkpath", b"size", b"GNU.sparse.")

_KINDS = {
    b"0": Kind.FILE,
    b"\0": Kind.FILE,
    b"7": Kind.FILE,  # contiguous, which nothing is any more
    b"S": Kind.FILE,
    b"1": Kind.HARD_LINK,
    b"2": Kind.SYMLINK,
    b"3": Kind.CHARACTER_DEVICE,
    b"4": Kind.BLOCK_DEVICE,
    b"5": Kind.DIRECTORY,
    b"6": Kind.FIFO,
    b"D": Kind.DIRECTORY,  # GNU tar --incremental: a listing follows as data
}
# The other types have no data, whatever their size says (Go's archive/tar, isHeaderOnlyType).
_WITH_DATA = (b"0", b"\0", b"7", b"S", b"D")


@dataclass(slots=True)
class Extensions:
    """What stands before an entry's own header and belongs to it."""

    records: Records = field(default_factory=list)
    name: bytes | None = None  # GNU's, type L
    link: bytes | None = None  # GNU's, type K

    def __bool__(self) -> bool:
        """Whether an entry has to follow."""
        return bool(self.records) or self.name is not None or self.link is not None


def merge_globals(known: dict[bytes, bytes], records: Records) -> dict[bytes, bytes]:
    """Return what holds for all later entries after one more global header.

    Raises:
        ValueError: a record that only one entry can have, or too much of them.
    """
    merged = dict(known)
    for key, value in records:
        if key.startswith(_ONE_ENTRY_ONLY):
            raise ValueError(f"a global header with {key.decode('ascii', 'replace')}")
        merged[key] = value
    if sum(len(key) + len(value) for key, value in merged.items()) > _MOST_GLOBAL_BYTES:
        raise ValueError("too much in global headers")
    return merged


def effective_values(known: dict[bytes, bytes], records: Records) -> dict[bytes, bytes]:
    """Return what holds for one entry: an empty value takes a global one back.

    An empty xattr is an xattr.
    """
    if not known and not records:
        return {}
    merged = known | dict(records)
    return {key: value for key, value in merged.items() if value or is_xattr(key)}


def full_name(header: Header, extensions: Extensions, values: dict[bytes, bytes]) -> bytes:
    """Return the name that counts; GNU's long one before PAX's, as in Go."""
    if extensions.name is not None:
        return extensions.name
    return values.get(b"GNU.sparse.name") or values.get(b"path") or header.name


def stored_size(header: Header, values: dict[bytes, bytes]) -> int:
    """Return how many bytes follow the header, without padding.

    Raises:
        ValueError: no entry can have so many, or the type is none that is known.
    """
    if header.type not in _KINDS:
        raise ValueError(f"an entry of unknown type {header.type!r}")
    if header.type not in _WITH_DATA:
        return 0
    size = parse_decimal(values[b"size"]) if b"size" in values else header.size
    if size < 0:
        raise ValueError("a negative size")
    return size


def describe(
    header: Header, extensions: Extensions, values: dict[bytes, bytes], offset: int
) -> Member | None:
    """Return the entry, its size and segments still open; None for one that means nothing.

    Raises:
        ValueError: it says what cannot be.
    """
    name = full_name(header, extensions, values)
    kind = _KINDS[header.type]
    if kind is Kind.FILE and name.endswith(b"/"):
        kind = Kind.DIRECTORY  # v7 tars have no type for them
    classified = _classified(parse_path(name), kind)
    if classified is None:
        return None
    path, kind = classified
    uid = parse_decimal(values[b"uid"]) if b"uid" in values else header.uid
    gid = parse_decimal(values[b"gid"]) if b"gid" in values else header.gid
    require_owner(uid, gid)
    target, link = _links(kind, extensions.link or values.get(b"linkpath") or header.link)
    return Member(
        path,
        kind,
        header.mode,
        uid,
        gid,
        parse_time_ns(values[b"mtime"]) if b"mtime" in values else header.mtime * _SECOND_NS,
        0,
        _device(header, kind),
        target,
        link,
        xattrs_of(values) if values else (),
        (),
        offset,
    )


def _classified(path: Path, kind: Kind) -> tuple[Path, Kind] | None:
    """Tell what is an object and what a mark about the layers below; None: neither.

    aufs kept the data of hard-linked files below `.wh..wh.plnk`, and layers that docker made from
    it have hard links that lead there. Source: OCI image-spec layer.md, "Whiteouts"; moby#3884.
    """
    if not path:
        if kind is not Kind.DIRECTORY:
            raise ValueError("the root can only be a directory")
        return path, kind
    if not any(component.startswith(WHITEOUT_PREFIX) for component in path):
        return path, kind
    directory, name = path[:-1], path[-1]
    if any(component.startswith(PRIVATE_PREFIX) for component in directory):
        return (path, Kind.PRIVATE) if kind is Kind.FILE else None
    if any(component.startswith(WHITEOUT_PREFIX) for component in directory):
        raise ValueError("something below a name that means a deletion")
    if name == OPAQUE_NAME:
        return directory, Kind.OPAQUE
    if name.startswith(PRIVATE_PREFIX):
        return None
    deleted = name[len(WHITEOUT_PREFIX) :]
    if deleted in (b"", b".", b".."):
        raise ValueError("a deletion of nothing that can be")
    return (*directory, deleted), Kind.WHITEOUT


def _links(kind: Kind, target: bytes) -> tuple[bytes, Path]:
    if kind is Kind.SYMLINK:
        if not 0 < len(target) <= _LONGEST_TARGET:
            raise ValueError(f"a symbolic link to a name of {len(target)} bytes")
        return target, ()
    if kind is Kind.HARD_LINK:
        return b"", parse_path(target)
    return b"", ()


def _device(header: Header, kind: Kind) -> int:
    if kind not in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE):
        return 0
    require_device(header.major, header.minor)
    return os.makedev(header.major, header.minor)
