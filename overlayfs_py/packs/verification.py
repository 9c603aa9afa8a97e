"""Checking all of a pack: every byte, every record, and the tar that it should give."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.packs.errors import CorruptLayer
from overlayfs_py.packs.format import ALIGNMENT, HEADER, NO_INODE, ROOT, Flag
from overlayfs_py.packs.to_tar import is_exact, write_tar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from overlayfs_py.packs.format import Inode
    from overlayfs_py.packs.pack import Pack
    from overlayfs_py.packs.values import Path

    Progress = Callable[[int], object]  # told of bytes that are done


class Damage(NamedTuple):
    """One thing that is wrong with a pack."""

    why: str
    paths: tuple[Path, ...] = ()  # the files that it concerns, as far as they are known


def verify(pack: Pack, on_bytes: Progress | None = None) -> Iterator[Damage]:
    """Yield everything that is wrong with a pack that could be opened; nothing: it is whole.

    Every byte of the file is covered: header and footer when it was opened, then the index by its
    pages, the chunks, what lies between, and last what the records say.
    """
    whole = True
    for damage in _bytes(pack, on_bytes or _nobody):
        whole = False
        yield damage
    if whole and is_exact(pack):
        try:
            write_tar(pack, len)
        except CorruptLayer as error:
            yield Damage(str(error.strerror))


def _bytes(pack: Pack, on_bytes: Progress) -> Iterator[Damage]:
    index_is_whole = True
    for _, error in pack.index.load_all():
        if error is not None:
            index_is_whole = False
            yield Damage(str(error.strerror))
    if not index_is_whole:
        return  # no record can be believed
    bad_chunks = {}
    for number in range(pack.index.chunks):
        try:
            pack.chunks.load(number)
            on_bytes(pack.index.chunk(number)[1])
        except CorruptLayer as error:
            bad_chunks[number] = str(error.strerror)
    yield from _between(pack)
    walk = _Walk(pack, bad_chunks)
    yield from walk.run()
    for number, why in bad_chunks.items():
        yield Damage(why, tuple(walk.victims.get(number, ())))


def _between(pack: Pack) -> Iterator[Damage]:
    """What no chunk covers: nothing but zeros before the index."""
    places = sorted(pack.index.chunk(number)[:2] for number in range(pack.index.chunks))
    end = HEADER.size
    for offset, stored in places:
        if offset != end:
            yield Damage(f"chunks do not follow each other at byte {end}")
            return
        end = offset + stored
    rest = pack.footer.index_offset - end
    if not 0 <= rest < ALIGNMENT or any(os.pread(pack.fd, rest, end)):
        yield Damage("something lies between the chunks and the index")


class _Walk:
    """All names, and all that their records refer to."""

    def __init__(self, pack: Pack, bad_chunks: dict[int, str]) -> None:
        self._pack = pack
        self._bad_chunks = bad_chunks
        self._lengths = [
            pack.index.chunk(number)[2] & 0xFFFFFF for number in range(pack.index.chunks)
        ]
        self.victims: dict[int, list[Path]] = {}  # by damaged chunk

    def run(self) -> Iterator[Damage]:
        pending: list[tuple[int, Path]] = [(ROOT, ())]
        while pending:
            number, path = pending.pop()
            try:
                pending += self._directory(number, path)
            except CorruptLayer as error:
                yield Damage(str(error.strerror), (path,))
            except _Damaged as damaged:
                yield damaged.damage

    def _directory(self, number: int, path: Path) -> list[tuple[int, Path]]:
        index = self._pack.index
        inode = index.directory(number)
        index.xattrs(inode)
        below = []
        for at, (name, child, kind) in enumerate(index.names(inode), inode.first):
            here = (*path, name)
            if index.find(inode, name) < 0:
                raise _Damaged(Damage("a name is not where it is looked for", (here,)))
            if child == NO_INODE:
                continue
            found = index.child(number, at, child, kind)
            if stat.S_ISDIR(found.mode):
                below.append((child, here))
            else:
                self._object(found, here)
        return below

    def _object(self, inode: Inode, path: Path) -> None:
        self._pack.index.xattrs(inode)
        if stat.S_ISLNK(inode.mode):
            self._pack.index.text(inode.first, inode.size)
        elif stat.S_ISREG(inode.mode):
            for number, end in self._parts(inode):
                if number >= len(self._lengths) or end > self._lengths[number]:
                    raise _Damaged(Damage(f"chunk {number} is shorter than a file in it", (path,)))
                if number in self._bad_chunks:
                    self.victims.setdefault(number, []).append(path)

    def _parts(self, inode: Inode) -> Iterator[tuple[int, int]]:
        """Yield each chunk that a file has a part in, and where the part ends in it."""
        log2 = self._pack.chunks.log2
        if inode.flags & Flag.INLINE:
            pieces = iter(((0, inode.size, inode.first),))
        else:
            pieces = self._pack.index.extents(inode, 0, inode.size)
        for _, length, address in pieces:
            while length > 0:
                start = address & ((1 << log2) - 1)
                part = min(length, (1 << log2) - start)
                yield address >> log2, start + part
                address += part
                length -= part


class _Damaged(Exception):
    def __init__(self, damage: Damage) -> None:
        super().__init__(damage.why)
        self.damage = damage


def _nobody(_: int) -> None:
    """Nobody wants to know how far it is."""
