"""Reading a tar as a stream: one entry after the other, in memory that its size does not change.

Nothing is unpacked and nothing is followed here. Python's tarfile cannot be used for layers: it
rounds times, turns names and xattrs into text, has no way to keep the tar's exact bytes, and
allocates what a header asks for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from overlayfs_py.tars import sparse
from overlayfs_py.tars.description import (
    Extensions,
    describe,
    effective_values,
    full_name,
    merge_globals,
    stored_size,
)
from overlayfs_py.tars.errors import BadMember, BadTar
from overlayfs_py.tars.header import BLOCK, END, parse_header
from overlayfs_py.tars.members import Hole, Kind, Segment
from overlayfs_py.tars.numbers import parse_decimal
from overlayfs_py.tars.pax import parse_records
from overlayfs_py.tars.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from overlayfs_py.tars.header import Header
    from overlayfs_py.tars.members import Member

    OnRaw = Callable[[bytes | memoryview], object]

# Names and extended headers are taken into memory. Go's archive/tar has the same limit.
_MOST_EXTENSION_BYTES = 1 << 20
_PAX_LOCAL = (b"x", b"X")  # X: Solaris, before POSIX
_PAX_GLOBAL = b"g"
_LONG_NAME = b"L"
_LONG_LINK = b"K"
_LABEL = b"V"  # of a tape
_EXTENSIONS = (*_PAX_LOCAL, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK, _LABEL)


class TarReader:
    """The entries of one tar, in order.

    `on_raw` is given every byte of the tar, in order, but the data that `data()` has yielded: so
    both together are the tar. Iterating to the end reads the stream to its end, past the end
    marks: a diff ID covers what is behind them too.

    Raises:
        BadTar: from iterating and from `data()`; nothing can be read afterwards.
    """

    def __init__(self, blocks: Iterable[bytes], on_raw: OnRaw | None = None) -> None:
        """Read a tar from blocks of any size."""
        self._source = Source(blocks)
        self._raw = on_raw or _ignore
        self._globals: dict[bytes, bytes] = {}
        self._member: Member | None = None
        self._left = 0  # bytes of the current entry's data that nobody has taken
        self._padding = 0  # bytes that follow them
        self._offset = 0  # where the current entry begins
        self._name = b""  # as far as it is known

    @property
    def position(self) -> int:
        """How many bytes of the tar have been read."""
        return self._source.position

    def __iter__(self) -> Iterator[Member]:
        return self

    def __next__(self) -> Member:
        """Return the next entry; data of the one before that was not taken counts as raw."""
        self._pass_over_rest()
        while True:
            self._offset, self._name = self._source.position, b""
            try:
                self._member = self._read_entry()
            except ValueError as error:
                raise self._bad(str(error)) from None
            if self._member is not None:
                return self._member
            self._pass_over_rest()

    def data(self) -> Iterator[memoryview | Hole]:
        """Yield the current file's data, in order, with its holes; once."""
        member = self._member
        assert member is not None
        end = 0
        for offset, length in member.segments:
            if offset > end:
                yield Hole(offset - end)
            expected = self._left - length
            for piece in self._source.pieces(length):
                self._left -= len(piece)
                yield piece
            if self._left != expected:
                raise self._torn()
            end = offset + length
        if member.size > end:
            yield Hole(member.size - end)

    # Entries.

    def _read_entry(self) -> Member | None:
        """Read headers up to an entry's own; None: it means nothing to a layer."""
        extensions = Extensions()
        while True:
            block = self._source.take(BLOCK)
            if not block:
                if extensions:
                    raise self._torn()
                raise StopIteration
            if len(block) < BLOCK:
                raise self._torn()
            self._raw(block)
            if block == END:
                self._read_end(after_extension=bool(extensions))
            header = parse_header(block)
            self._name = header.name
            if header.type not in _EXTENSIONS:
                return self._describe(header, block, extensions)
            self._read_extension(header, extensions)

    def _read_end(self, *, after_extension: bool) -> NoReturn:
        """A second empty block, or nothing, follows the first; then anything may."""
        if after_extension:
            raise ValueError("an extended header and no entry after it")
        block = self._source.take(BLOCK)
        if block not in (END, b""):
            raise ValueError("an empty block between entries")
        self._raw(block)
        for piece in self._source.rest():
            self._raw(piece)
        raise StopIteration

    def _read_extension(self, header: Header, extensions: Extensions) -> None:
        if not 0 <= header.size <= _MOST_EXTENSION_BYTES:
            raise ValueError(f"an extended header of {header.size} bytes")
        data = self._take(header.size)
        self._take(-header.size % BLOCK)
        if header.type in _PAX_LOCAL:
            extensions.records = parse_records(data)
        elif header.type == _PAX_GLOBAL:
            self._globals = merge_globals(self._globals, parse_records(data))
        elif header.type == _LONG_NAME:
            extensions.name = data.partition(b"\0")[0]
        elif header.type == _LONG_LINK:
            extensions.link = data.partition(b"\0")[0]

    def _describe(self, header: Header, block: bytes, extensions: Extensions) -> Member | None:
        values = effective_values(self._globals, extensions.records)
        self._name = full_name(header, extensions, values)
        size = stored_size(header, values)
        self._left, self._padding = size, -size % BLOCK
        try:
            member = describe(header, extensions, values, self._offset)
        except ValueError as error:
            raise BadMember(str(error), self._offset, self._name) from None
        if member is None or member.kind not in (Kind.FILE, Kind.PRIVATE):
            return member
        if header.type == b"S" or any(key.startswith(b"GNU.sparse.") for key in values):
            return self._with_sparse_map(member, header, block, extensions, values)
        return member._replace(size=size, segments=(Segment(0, size),) if size else ())

    # Sparse files.

    def _with_sparse_map(
        self,
        member: Member,
        header: Header,
        block: bytes,
        extensions: Extensions,
        values: dict[bytes, bytes],
    ) -> Member:
        if header.type == b"S":
            if not header.gnu:
                raise ValueError("a sparse file of an unknown form")
            # The map's blocks follow the header and do not count as data.
            segments, size = sparse.old_gnu_map(block, lambda: self._take(BLOCK))
        else:
            segments, size = self._pax_map(extensions, values)
        return member._replace(size=size, segments=sparse.checked(segments, size, self._left))

    def _pax_map(
        self, extensions: Extensions, values: dict[bytes, bytes]
    ) -> tuple[list[Segment], int]:
        version = values.get(b"GNU.sparse.major", b"0"), values.get(b"GNU.sparse.minor")
        real = values.get(b"GNU.sparse.realsize", values.get(b"GNU.sparse.size"))
        if real is None:
            raise ValueError("a sparse file without its size")
        if version == (b"1", b"0"):
            return sparse.pax_1_map(self._take_block_of_data), parse_decimal(real)
        if version[0] == b"0":
            return sparse.pax_0_map(extensions.records), parse_decimal(real)
        raise ValueError("a sparse file of an unknown form")

    def _take_block_of_data(self) -> bytes:
        if self._left < BLOCK:
            raise ValueError("a sparse map that does not end")
        block = self._take(BLOCK)
        self._left -= BLOCK
        return block

    # Bytes.

    def _take(self, count: int) -> bytes:
        data = self._source.take(count)
        if len(data) < count:
            raise self._torn()
        self._raw(data)
        return data

    def _pass_over_rest(self) -> None:
        """Hand on what the current entry still has: data that nobody took, padding."""
        left, self._left = self._left, 0
        for piece in self._source.pieces(left):
            left -= len(piece)
            self._raw(piece)
        if left:
            raise self._torn()
        if self._padding:
            padding, self._padding = self._padding, 0
            self._take(padding)

    def _torn(self) -> BadTar:
        return self._bad(f"it ends at byte {self._source.position}, in the middle of an entry")

    def _bad(self, why: str) -> BadTar:
        return BadTar(why, self._offset, self._name)


def _ignore(data: bytes | memoryview) -> None:
    """Nobody wants the raw bytes."""
