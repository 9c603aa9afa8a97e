"""A pack made into a tar: the very one it was made from, or one that its content determines."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

from overlayfs_py.layers.marks import METACOPY, REDIRECT
from overlayfs_py.layers.reserved_xattrs import seen_name
from overlayfs_py.packs.errors import BadEntry, CorruptLayer
from overlayfs_py.packs.format import NO_INODE, ROOT, Flag, SectionId, join_ns
from overlayfs_py.tars.errors import BadSplit
from overlayfs_py.tars.members import Kind, Member
from overlayfs_py.tars.rebuild import rebuild, recorded_digest
from overlayfs_py.tars.writer import TarWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from overlayfs_py.packs.format import Inode
    from overlayfs_py.packs.pack import Pack
    from overlayfs_py.packs.values import Path

    Write = Callable[[bytes | memoryview], object]

_STEP = 1 << 20
_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHARACTER_DEVICE,
    stat.S_IFBLK: Kind.BLOCK_DEVICE,
    stat.S_IFIFO: Kind.FIFO,
}


def write_tar(pack: Pack, write: Write, *, with_root: bool = True) -> None:
    """Write the pack's tar; `write` takes each piece whole.

    One that was made from a tar gives that tar, bit for bit. Any other gives a tar that has
    directories before what is in them, whiteouts first, names sorted; sockets have no place in it,
    and the root itself only `with_root`.

    Raises:
        CorruptLayer: the pack is damaged. What was written is then no layer.
        BadEntry: the pack was made from an upper that only makes sense on top of its layers.
    """
    if not is_exact(pack):
        _Walk(pack, TarWriter(write)).run(with_root=with_root)
        return
    for piece in recorded_tar(pack):
        write(piece)


def recorded_tar(pack: Pack) -> Iterator[bytes | memoryview]:
    """Yield the very tar that a pack was made from, in pieces.

    Raises:
        CorruptLayer: the pack is damaged, or has no recording. What was yielded is then no layer.
    """
    try:
        yield from rebuild(_recording(pack), _reading(pack), tar_size(pack))
    except BadSplit as error:
        raise CorruptLayer(pack.path, str(error.strerror)) from None


def recorded_sha256(pack: Pack) -> bytes:
    """Return the SHA-256 that the tar has which `recorded_tar` gives.

    Raises:
        CorruptLayer: the pack is damaged, or has no recording.
    """
    try:
        return recorded_digest(_recording(pack))[0]
    except BadSplit as error:
        raise CorruptLayer(pack.path, str(error.strerror)) from None


def _recording(pack: Pack) -> bytes:
    recording = pack.index.section(SectionId.TARSPLIT)
    if recording is None:
        raise CorruptLayer(pack.path, "its tar was not recorded")
    return recording


def is_exact(pack: Pack) -> bool:
    """Whether the pack gives the very tar that it was made from."""
    return pack.index.section(SectionId.TARSPLIT) is not None


def origin(pack: Pack) -> tuple[str, int] | None:
    """Return the diff ID and the size of the tar that a pack was made from; None: of none.

    Raises:
        CorruptLayer: the section that says so is damaged.
    """
    section = pack.index.section(SectionId.ORIGIN)
    if section is None:
        return None
    try:
        found = json.loads(section)
        return str(found["diff_id"]), int(found["tar_bytes"])
    except (ValueError, KeyError, TypeError):
        raise CorruptLayer(pack.path, "what it says of its origin makes no sense") from None


def tar_size(pack: Pack) -> int:
    """Return how many bytes the tar has that a pack was made from."""
    found = origin(pack)
    if found is None:
        raise CorruptLayer(pack.path, "it has a recorded tar and says nothing of its size")
    return found[1]


def _reading(pack: Pack) -> Callable[[int, int, int], Iterator[bytes]]:
    def read(number: int, offset: int, length: int) -> Iterator[bytes]:
        inode = pack.index.inode(number)
        if not stat.S_ISREG(inode.mode):
            raise BadSplit(f"inode {number} has no data")
        reader = pack.reader(inode)
        end = offset + length
        if end > inode.size:
            raise BadSplit(f"inode {number} has less data")
        for start in range(offset, end, _STEP):
            yield reader.read(start, min(_STEP, end - start))

    return read


class _Walk:
    """Everything in a pack, sorted, as entries of a tar."""

    def __init__(self, pack: Pack, tar: TarWriter) -> None:
        self._pack = pack
        self._tar = tar
        self._linked: dict[int, Path] = {}  # the first path of each file with several

    def run(self, *, with_root: bool) -> None:
        if with_root:
            self._add(ROOT, ())
        pending = self._names(ROOT, ())
        pending.reverse()
        while pending:
            number, path = pending.pop()
            if self._add(number, path):
                pending += reversed(self._names(number, path))
        self._tar.finish()

    def _names(self, number: int, path: Path) -> list[tuple[int, Path]]:
        """Add a directory's marks; returns what is in it."""
        index = self._pack.index
        inode = index.directory(number)
        mtime_ns = join_ns(inode.mtime_s, inode.mtime_ns)
        if inode.flags & Flag.OPAQUE:
            self._tar.add(Member(path, Kind.OPAQUE, 0, mtime_ns=mtime_ns))
        found = []
        for name, child, _ in sorted(index.names(inode)):
            if child == NO_INODE:
                self._tar.add(Member((*path, name), Kind.WHITEOUT, 0, mtime_ns=mtime_ns))
            else:
                found.append((child, (*path, name)))
        return found

    def _add(self, number: int, path: Path) -> bool:
        """Add an object; whether it is a directory."""
        inode = self._pack.index.inode(number)
        kind = _KINDS.get(stat.S_IFMT(inode.mode))
        if kind is None:
            return False  # a socket
        if kind is not Kind.DIRECTORY and inode.nlink > 1:
            first = self._linked.setdefault(number, path)
            if first != path:
                self._tar.add(self._member(inode, path, Kind.HARD_LINK)._replace(link=first))
                return False
        member = self._member(inode, path, kind)
        if kind is Kind.FILE:
            self._tar.add(member._replace(size=inode.size), self._data(inode))
        else:
            self._tar.add(member)
        return kind is Kind.DIRECTORY

    def _member(self, inode: Inode, path: Path, kind: Kind) -> Member:
        device = kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE)
        return Member(
            path,
            kind,
            stat.S_IMODE(inode.mode),
            inode.uid,
            inode.gid,
            join_ns(inode.mtime_s, inode.mtime_ns),
            0,
            os.makedev(inode.first >> 32, inode.first & 0xFFFFFFFF) if device else 0,
            self._pack.index.text(inode.first, inode.size) if kind is Kind.SYMLINK else b"",
            (),
            () if kind is Kind.HARD_LINK else self._xattrs(inode, path),
        )

    def _xattrs(self, inode: Inode, path: Path) -> tuple[tuple[bytes, bytes], ...]:
        found = []
        for name, value in self._pack.index.xattrs(inode).items():
            if name in (*REDIRECT, *METACOPY):
                shown = os.fsdecode(b"/" + b"/".join(path))
                raise BadEntry(
                    f"{shown}: what it is lies in the layers below, and no tar can say so"
                )
            # As it is: what nothing in a tar could have been escaped from.
            found.append((seen_name(name) or name, value))
        return tuple(sorted(found))

    def _data(self, inode: Inode) -> Iterator[bytes]:
        reader = self._pack.reader(inode)
        for start in range(0, inode.size, _STEP):
            yield reader.read(start, min(_STEP, inode.size - start))
