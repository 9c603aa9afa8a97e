"""The files of one layer that is coming: chunks are put where they belong, each verified first.

Chunks are counted here by their place in the pack, so that those that one range brings follow each
other, whatever their numbers.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from overlayfs_py.errors import CorruptLayer
from overlayfs_py.image.digest import Digest
from overlayfs_py.packs.arrivals import HEAD, MAGIC
from overlayfs_py.packs.format import HEADER
from overlayfs_py.packs.pack import Pack
from overlayfs_py.store.places import HERE, PACK

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from overlayfs_py.store.records import ComingSource

_WRITE = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


class Chunk:
    """One chunk as the index has it."""

    __slots__ = ("digest", "end", "number", "start")

    def __init__(self, number: int, start: int, stored: int, digest: bytes) -> None:
        self.number = number
        self.start = start  # of the stored bytes, in the pack
        self.end = start + stored
        self.digest = digest


class ComingLayer:
    """One layer, open for writing its chunks."""

    def __init__(self, directory: Path, source: ComingSource) -> None:
        """Open it.

        Raises:
            CorruptLayer: its index is damaged.
            OSError: it is not there any more.
        """
        self.source = source
        self.diff_id = Digest(source.diff_id)
        self.directory = directory
        self._status = os.stat(directory)
        with Pack(os.fsencode(directory / PACK)) as pack:
            self.chunks = _in_order(pack)
        self.places = {chunk.number: place for place, chunk in enumerate(self.chunks)}
        self._fd = os.open(directory / PACK, _WRITE)
        try:
            self._here_fd = os.open(directory / HERE, _WRITE)
        except BaseException:
            os.close(self._fd)
            raise
        flags = os.pread(self._here_fd, len(self.chunks), HEAD.size).ljust(len(self.chunks), b"\0")
        magic, wait_ms = HEAD.unpack(os.pread(self._here_fd, HEAD.size, 0).ljust(HEAD.size, b"\0"))
        self.wait_s = wait_ms / 1000 if magic == MAGIC else 0.0  # as long as a reader waits
        self._here = bytearray(flags[chunk.number] for chunk in self.chunks)

    @property
    def is_gone(self) -> bool:
        """Whether the store has it no more, or another one in its place."""
        try:
            return not os.path.samestat(os.stat(self.directory), self._status)
        except FileNotFoundError:
            return True

    @property
    def is_whole(self) -> bool:
        """Whether all chunks are here."""
        return 0 not in self._here

    def has(self, place: int) -> bool:
        """Whether a chunk is here."""
        return self._here[place] == 1

    def next_missing(self, place: int) -> int:
        """The first chunk from a place on that is not here, -1 if all are."""
        return self._here.find(0, place)

    def put(self, place: int, block: bytes) -> bool:
        """Write a chunk, and then that it is here; whether it was the chunk.

        Neither is synced: a reader verifies what it reads, and asks again.
        """
        chunk = self.chunks[place]
        if hashlib.sha256(block).digest() != chunk.digest:
            return False
        view, offset = memoryview(block), chunk.start
        while view:
            done = os.pwrite(self._fd, view, offset)
            view, offset = view[done:], offset + done
        self._mark(place, 1)
        return True

    def doubt(self, place: int) -> None:
        """Look at a chunk of which a reader says that it is not what it should be."""
        chunk = self.chunks[place]
        block = os.pread(self._fd, chunk.end - chunk.start, chunk.start)
        if self.has(place) and hashlib.sha256(block).digest() != chunk.digest:
            self._mark(place, 0)

    def doubt_all(self) -> None:
        """Look at all chunks that are said to be here."""
        for place in range(len(self.chunks)):
            if self.has(place):
                self.doubt(place)

    def _mark(self, place: int, value: int) -> None:
        os.pwrite(self._here_fd, bytes([value]), HEAD.size + self.chunks[place].number)
        self._here[place] = value

    def ordered(self) -> Sequence[int]:
        """The places of the chunks that a first run has used, in that order."""
        return [self.places[each] for each in self.source.order if each in self.places]

    def close(self) -> None:
        """Close its files."""
        os.close(self._fd)
        os.close(self._here_fd)


def _in_order(pack: Pack) -> list[Chunk]:
    """All chunks by their place.

    Raises:
        CorruptLayer: they cannot lie as the index says.
    """
    found = []
    for number in range(pack.index.chunks):
        start, stored, _, digest = pack.index.chunk(number)
        found.append(Chunk(number, start, stored, digest))
    found.sort(key=lambda chunk: chunk.start)
    end = HEADER.size
    for chunk in found:
        if chunk.start != end:
            raise CorruptLayer(pack.path, f"chunks do not follow each other at byte {end}")
        end = chunk.end
    if end > pack.footer.index_offset:
        raise CorruptLayer(pack.path, "chunks reach into the index")
    return found
