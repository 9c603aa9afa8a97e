"""Checking all of a pack: every byte, every record, and the tar that it should give."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.packs.errors import CorruptLayer
from overlayfs_py.packs.format import ALIGNMENT, HEADER
from overlayfs_py.packs.items import walk
from overlayfs_py.packs.structure import check_structure
from overlayfs_py.packs.to_tar import is_exact, write_tar

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from overlayfs_py.packs.pack import Pack
    from overlayfs_py.packs.values import Path

    Progress = Callable[[int], object]  # told of bytes that are done


class Damage(NamedTuple):
    """One thing that is wrong with a pack."""

    why: str
    paths: tuple[Path, ...] = ()  # the files that it concerns, as far as they are known


def verify(
    pack: Pack, on_bytes: Progress | None = None, *, with_tar: bool = True
) -> Iterator[Damage]:
    """Yield everything that is wrong with a pack that could be opened; nothing: it is whole.

    Every byte of the file is covered: header and footer when it was opened, then the index by its
    pages, the chunks, what lies between, and last what the records say. `with_tar` makes the tar
    again that it was made from, if any, and checks that.
    """
    whole = True
    for damage in _bytes(pack, on_bytes or _nobody):
        whole = False
        yield damage
    if whole and with_tar and is_exact(pack):
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
    yield from (Damage(why) for why in check_structure(pack))
    victims = _victims(pack, bad_chunks) if bad_chunks else {}
    for number, why in bad_chunks.items():
        yield Damage(why, tuple(victims.get(number, ())))


def _between(pack: Pack) -> Iterator[Damage]:
    """What no chunk and no section covers: nothing but zeros."""
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
    end = 0
    for section in pack.footer.sections:
        if any(pack.index.raw(end, section.offset)):
            yield Damage(f"something lies before section {section.id} of the index")
        end = section.offset + section.length


def _victims(pack: Pack, chunks: Container[int]) -> dict[int, list[Path]]:
    """The files that have data in some chunks, by chunk."""
    found: dict[int, list[Path]] = {}
    with suppress(CorruptLayer):  # that is a damage of its own already
        for item in walk(pack):
            if item.inode is not None and item.type == stat.S_IFREG:
                for number in pack.reader(item.inode).chunks():
                    if number in chunks:
                        found.setdefault(number, []).append(item.path)
    return found


def _nobody(_: int) -> None:
    """Nobody wants to know how far it is."""
