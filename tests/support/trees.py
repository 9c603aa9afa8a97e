"""Build a directory tree from a table: `build(root, {"etc/hosts": File(b"..", mode=0o640)})`.

Parents that the table does not name are made with mode 0755. Modes are exact, whatever the umask,
and the times of directories are those asked for, whatever is made in them. Layers too: a
`Whiteout` and an `Opaque` directory are written in the form of kernel overlayfs.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PARENT_MODE = 0o755
OPAQUE = "trusted.overlay.opaque"


@dataclass(frozen=True, kw_only=True)
class _Owned:
    """What every object has, except one that is another's name."""

    uid: int = 0
    gid: int = 0
    mtime_ns: int | None = None  # None: when it was made
    xattrs: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class File(_Owned):
    data: bytes = b""
    mode: int = 0o644
    size: int | None = None  # beyond the data: a hole up to there


@dataclass(frozen=True)
class Dir(_Owned):
    mode: int = 0o755


@dataclass(frozen=True)
class Symlink(_Owned):
    target: str | bytes


@dataclass(frozen=True)
class Fifo(_Owned):
    mode: int = 0o644


@dataclass(frozen=True)
class Socket(_Owned):
    mode: int = 0o755


@dataclass(frozen=True)
class Device(_Owned):
    kind: int  # stat.S_IFCHR or stat.S_IFBLK
    major: int
    minor: int
    mode: int = 0o600


@dataclass(frozen=True)
class HardLink:
    """A further name of the file that the table has made at `target`, a path from the root."""

    target: str | bytes


@dataclass(frozen=True)
class Whiteout:
    """Hides the name in the layers below."""


@dataclass(frozen=True)
class Opaque:
    """A directory that hides what the layers below have at its place."""

    directory: Dir = field(default_factory=Dir)


Node = File | Dir | Symlink | Fifo | Socket | Device | HardLink | Whiteout | Opaque


def build(root: Path, tree: Mapping[str | bytes, Node] | Mapping[str, Node]) -> None:
    """Make everything in `tree` below `root`, in the order of the table; `""` is `root` itself."""
    base = os.fsencode(root)
    os.makedirs(base, exist_ok=True)
    made = [(_below(base, name), node) for name, node in tree.items()]
    for path, node in made:
        _make_parents(path, base)
        _make(path, node, base)
    # Last and from the inside out, because what is made in a directory changes its times.
    for path, node in sorted(made, key=lambda item: -item[0].count(b"/")):
        _set_time(path, node)


def _below(base: bytes, name: str | bytes) -> bytes:
    relative = os.fsencode(name)
    return base + b"/" + relative if relative else base


def _make_parents(path: bytes, base: bytes) -> None:
    parent = os.path.dirname(path)
    if path == base or os.path.lexists(parent):
        return
    _make_parents(parent, base)
    _make(parent, Dir(mode=_PARENT_MODE), base)


def _make(path: bytes, node: Node, base: bytes) -> None:
    match node:
        case HardLink(target):
            os.link(_below(base, target), path, follow_symlinks=False)
        case Whiteout():
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(0, 0))
        case Opaque(directory):
            _make(path, directory, base)
            os.setxattr(path, OPAQUE, b"y", follow_symlinks=False)
        case _:
            _create(path, node)
            _own(path, node)


def _create(path: bytes, node: File | Dir | Symlink | Fifo | Socket | Device) -> None:
    match node:
        case File(data=data, size=size):
            with open(path, "xb") as file:
                file.write(data)
                file.truncate(size)
        case Dir():
            # One that exists already was made as a parent, or is the root.
            os.makedirs(path, exist_ok=True)
        case Symlink(target=target):
            os.symlink(os.fsencode(target), path)
        case Fifo():
            os.mkfifo(path)
        case Socket():
            os.mknod(path, stat.S_IFSOCK)
        case Device(kind=kind, major=major, minor=minor):
            os.mknod(path, kind, os.makedev(major, minor))


def _own(path: bytes, node: File | Dir | Symlink | Fifo | Socket | Device) -> None:
    os.chown(path, node.uid, node.gid, follow_symlinks=False)
    if not isinstance(node, Symlink):
        # After chown, which clears the set-id bits.
        os.chmod(path, node.mode)
    for name, value in node.xattrs.items():
        os.setxattr(path, name, value, follow_symlinks=False)


def _set_time(path: bytes, node: Node) -> None:
    match node:
        case Opaque(directory):
            _set_time(path, directory)
        case HardLink() | Whiteout():
            pass
        case _ if node.mtime_ns is not None:
            os.utime(path, ns=(node.mtime_ns, node.mtime_ns), follow_symlinks=False)
