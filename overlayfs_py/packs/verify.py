"""Checking a pack as a whole: every byte, and every rule of the format.

A mount checks what it uses when it uses it. Here all is checked, and nothing is left over: each
byte is the header's, a chunk's, the index's, a digest's, the footer's, or padding that is zero.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from overlayfs_py.packs.errors import CorruptLayer
from overlayfs_py.packs.format import ALIGNMENT, HEADER
from overlayfs_py.packs.pack import Pack
from overlayfs_py.packs.structure import check_structure
from overlayfs_py.packs.values import shown
from overlayfs_py.packs.walk import walk

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

_MOST_FILES_NAMED = 8
_MOST_FAULTS = 1000


def verify(path: bytes, on_data: Callable[[int], None] | None = None) -> list[str]:
    """Return what is wrong with a pack, one line each and none for a sound one; the first thousand.

    Lines name chunks and the files that have data in them. `on_data` is told of the bytes that
    were read.

    Raises:
        OSError: it cannot be read.
    """
    try:
        with Pack(path) as pack:
            return list(islice(_faults(pack, on_data or _nothing), _MOST_FAULTS))
    except CorruptLayer as damage:
        return [str(damage.strerror)]


def _faults(pack: Pack, on_data: Callable[[int], None]) -> Iterator[str]:
    damaged = [str(damage.strerror) for _, damage in pack.index.load_all() if damage is not None]
    on_data(pack.footer.index_length)
    if damaged:
        # What the rest says cannot be told without it.
        yield from damaged
        return
    yield from check_structure(pack)
    yield from _gaps(pack)
    broken = {}
    for number in range(pack.index.chunks):
        try:
            on_data(pack.index.chunk(number)[1])
            pack.chunks.load(number)
        except CorruptLayer as damage:
            broken[number] = str(damage.strerror)
    files = _files_in(pack, broken) if broken else {}
    for number, why in broken.items():
        yield f"{why}; it holds data of {_listed(files.get(number, []))}"


def _gaps(pack: Pack) -> Iterator[str]:
    """Chunks lie back to back from the header on; what follows the last one is zero."""
    places = sorted(pack.index.chunk(number)[:2] for number in range(pack.index.chunks))
    end = HEADER.size
    for offset, stored in places:
        if offset != end:
            yield f"the chunks do not lie back to back: {end} is followed by {offset}"
            return
        end = offset + stored
    start = pack.footer.index_offset
    rest = os.pread(pack.fd, min(ALIGNMENT, max(0, start - end)), end)
    if not 0 <= start - end < ALIGNMENT or any(rest):
        yield f"there is something between the chunks and the index, at {end}"
    data_end = 0
    for section in pack.footer.sections:
        if any(pack.index.raw(data_end, section.offset)):
            yield f"there is something before section {section.id} of the index"
        data_end = section.offset + section.length


def _files_in(pack: Pack, broken: Container[int]) -> dict[int, list[str]]:
    """The files that have data in some chunks, by chunk; as far as the tree can be walked."""
    found: dict[int, list[str]] = {}
    with suppress(CorruptLayer):  # that is a line of its own already
        for path, _, inode in walk(pack):
            if inode is not None and stat.S_ISREG(inode.mode):
                for number in pack.reader(inode).chunks():
                    if number in broken:
                        found.setdefault(number, []).append(shown(path))
    return found


def _listed(files: list[str]) -> str:
    if not files:
        return "no file"
    named = ", ".join(files[:_MOST_FILES_NAMED])
    more = len(files) - _MOST_FILES_NAMED
    return f"{named} and {more} more" if more > 0 else named


def _nothing(_: int) -> None:
    return
