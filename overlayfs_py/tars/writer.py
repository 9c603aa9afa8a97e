"""Writing a tar that depends on nothing but what is in it: ustar, with PAX records where needed.

No owner names, no access times, no padding behind the two empty blocks at the end. The order is
the caller's; whiteouts belong before what else is in their directory (OCI image-spec layer.md).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from overlayfs_py.tars.header import BLOCK, END, Header, format_header
from overlayfs_py.tars.members import Hole, Kind
from overlayfs_py.tars.numbers import format_octal, format_time
from overlayfs_py.tars.paths import OPAQUE_NAME, WHITEOUT_PREFIX
from overlayfs_py.tars.pax import format_records, xattr_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from overlayfs_py.tars.members import Member

_TYPES = {
    Kind.FILE: b"0",
    Kind.HARD_LINK: b"1",
    Kind.SYMLINK: b"2",
    Kind.CHARACTER_DEVICE: b"3",
    Kind.BLOCK_DEVICE: b"4",
    Kind.DIRECTORY: b"5",
    Kind.FIFO: b"6",
    Kind.WHITEOUT: b"0",
    Kind.OPAQUE: b"0",
}
_LONGEST_FIELD = 100  # of a name or a link's target in the header
_ID_WIDTH = 8
_SIZE_WIDTH = 12
_EXTENSION_NAME = b"PaxHeaders/"
_SECOND_NS = 1_000_000_000
_ZEROS = bytes(1 << 16)


class TarWriter:
    """Writes one tar; `write` takes each piece whole."""

    def __init__(self, write: Callable[[bytes | memoryview], object]) -> None:
        self._write = write

    def add(self, member: Member, data: Iterable[bytes | memoryview | Hole] = ()) -> None:
        """Write an entry; a file's data has `member.size` bytes, its holes written as zeros.

        Raises:
            ValueError: the data has another size. The tar is then useless.
        """
        self.begin(member)
        written = 0
        for piece in data:
            if isinstance(piece, Hole):
                self._write_zeros(piece.length)
                written += piece.length
            else:
                self._write(piece)
                written += len(piece)
        if written != member.size:
            raise ValueError(f"{written} bytes of data for a file of {member.size}")
        self.end(member)

    def begin(self, member: Member) -> None:
        """Write what comes before an entry's data, which the caller writes."""
        records, header = _plan(member)
        if records:
            extension = format_records(records)
            self._put_block(_extension_header(header.name, len(extension)))
            self._write(extension)
            self._pad(len(extension))
        self._put_block(header)

    def end(self, member: Member) -> None:
        """Write what comes behind an entry's data."""
        self._pad(member.size)

    def finish(self) -> None:
        """Write the end."""
        self._write(END + END)

    def _put_block(self, header: Header) -> None:
        self._write(format_header(header))

    def _pad(self, length: int) -> None:
        if length % BLOCK:
            self._write(bytes(-length % BLOCK))

    def _write_zeros(self, count: int) -> None:
        while count > 0:
            self._write(memoryview(_ZEROS)[:count])
            count -= len(_ZEROS)


def entry_name(member: Member) -> bytes:
    """Return the name an entry has in a tar: directories end in a slash, the root is `./`."""
    if member.kind is Kind.OPAQUE:
        return b"/".join((*member.path, OPAQUE_NAME))
    if member.kind is Kind.WHITEOUT:
        return b"/".join((*member.path[:-1], WHITEOUT_PREFIX + member.path[-1]))
    name = b"/".join(member.path)
    if member.kind is Kind.DIRECTORY:
        return name + b"/" if name else b"./"
    return name


def _plan(member: Member) -> tuple[list[tuple[bytes, bytes]], Header]:
    """Return the PAX records of what the header cannot hold, and a header with the rest."""
    records = _Records()
    name = records.text(b"path", entry_name(member))
    target = b"/".join(member.link) if member.kind is Kind.HARD_LINK else member.target
    link = records.text(b"linkpath", target)
    header = Header(
        name,
        member.mode,
        records.number(b"uid", member.uid, _ID_WIDTH),
        records.number(b"gid", member.gid, _ID_WIDTH),
        records.number(b"size", member.size, _SIZE_WIDTH),
        records.time(member.mtime_ns),
        _TYPES[member.kind],
        link,
        False,
        os.major(member.rdev),
        os.minor(member.rdev),
    )
    for xattr in member.xattrs:
        records.add(*xattr_record(*xattr))
    return records.sorted(), header


class _Records:
    """Collects PAX records; each method returns what the header says instead."""

    def __init__(self) -> None:
        self._records: list[tuple[bytes, bytes]] = []
        self._is_utf8 = True

    def add(self, key: bytes, value: bytes) -> None:
        self._records.append((key, value))

    def text(self, key: bytes, value: bytes) -> bytes:
        if len(value) <= _LONGEST_FIELD:
            return value
        self.add(key, value)
        self._is_utf8 &= _is_utf8(value)
        return value[:_LONGEST_FIELD]

    def number(self, key: bytes, value: int, width: int) -> int:
        if format_octal(value, width) is not None:
            return value
        self.add(key, b"%d" % value)
        return 0

    def time(self, time_ns: int) -> int:
        seconds, nanoseconds = divmod(time_ns, _SECOND_NS)
        fits = format_octal(seconds, _SIZE_WIDTH) is not None
        if nanoseconds or not fits:
            self.add(b"mtime", format_time(time_ns))
        return seconds if fits else 0

    def sorted(self) -> list[tuple[bytes, bytes]]:
        # Without it GNU tar and bsdtar take names for UTF-8 and convert them.
        charset = [] if self._is_utf8 else [(b"hdrcharset", b"BINARY")]
        return charset + sorted(self._records)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _extension_header(name: bytes, size: int) -> Header:
    base = name.rstrip(b"/").rpartition(b"/")[2] or b"."
    shown = (_EXTENSION_NAME + base)[:_LONGEST_FIELD]
    return Header(shown, 0o644, 0, 0, size, 0, b"x", b"", False, 0, 0)
