"""One interface over the compression libraries: a member (or frame) of a stream at a time."""

from __future__ import annotations

import bz2
import lzma
import sys
import zlib
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

import lz4.frame  # type: ignore[import-untyped]
from isal import igzip_lib

from overlayfs_py.tars.gzip_header import header_length

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable

_SKIPPABLE = tuple(bytes([low]) + b"\x2a\x4d\x18" for low in range(0x50, 0x60))
MOST_MAGIC = 6  # bytes that tell one compression from another
_ISAL_ERROR: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment] # a stub's slip
_MOST_XZ_MEMORY = 256 << 20  # xz -9 makes its reader take 65 MiB


class Compression(Enum):
    """How a tar is compressed."""

    PLAIN = "none"
    GZIP = "gzip"
    ZSTD = "zstd"
    LZ4 = "lz4"
    BZIP2 = "bzip2"
    XZ = "xz"


class Engine(Protocol):
    """Decompresses one member; the standard library's bz2 and lzma objects have this form."""

    @property
    def eof(self) -> bool:
        """Whether the member has ended."""

    @property
    def needs_input(self) -> bool:
        """Whether more can only come of more input."""

    @property
    def unused_data(self) -> bytes:
        """Return what followed the member's end."""

    def decompress(self, data: bytes, /, max_length: int = -1) -> bytes:
        """Return at most `max_length` bytes; what is left of `data` is kept."""


class Compressor(Protocol):
    """Compresses a stream; the same bytes and library give the same, however they are cut."""

    def compress(self, data: bytes, /) -> bytes:
        """Take more, return what is ready."""

    def flush(self) -> bytes:
        """Return the rest; the stream has ended."""


@dataclass(frozen=True, slots=True)
class Engines:
    """All about one compression."""

    magics: tuple[bytes, ...]  # what each member begins with
    open: Callable[[], Engine]
    failures: tuple[type[Exception], ...]  # what its library raises for bad data


class _Gzip:
    """A gzip member: its header is read here, since isal's reader fails on rare ones in pieces."""

    def __init__(self) -> None:
        self._head = b""
        self._body: igzip_lib.IgzipDecompressor | None = None
        self.eof = False
        self.needs_input = True
        self.unused_data = b""

    def decompress(self, data: bytes, /, max_length: int = -1) -> bytes:
        if self._body is None:
            self._head += data
            end = header_length(self._head)
            if end is None:
                return b""
            data, self._head = self._head[end:], b""
            self._body = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP_NO_HDR_VER)
        made: bytes = self._body.decompress(data, max_length)
        self.needs_input = self._body.needs_input
        if self._body.eof:
            self.eof, self.unused_data = True, self._body.unused_data
        return made


class _Lz4:
    """A frame of lz4, whose library says None for no unused data."""

    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameDecompressor()

    @property
    def eof(self) -> bool:
        return bool(self._frame.eof)

    @property
    def needs_input(self) -> bool:
        return bool(self._frame.needs_input)

    @property
    def unused_data(self) -> bytes:
        return self._frame.unused_data or b""

    def decompress(self, data: bytes, /, max_length: int = -1) -> bytes:
        return bytes(self._frame.decompress(data, max_length))


def _xz() -> Engine:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, _MOST_XZ_MEMORY)


ENGINES = {
    Compression.GZIP: Engines((b"\x1f\x8b",), _Gzip, (_ISAL_ERROR, ValueError)),
    # zstd's own limit of a window, 128 MiB, bounds the memory.
    Compression.ZSTD: Engines(
        (b"\x28\xb5\x2f\xfd", *_SKIPPABLE), zstd.ZstdDecompressor, (zstd.ZstdError,)
    ),
    Compression.LZ4: Engines((b"\x04\x22\x4d\x18", *_SKIPPABLE), _Lz4, (RuntimeError,)),
    Compression.BZIP2: Engines((b"BZh",), bz2.BZ2Decompressor, (OSError, ValueError)),
    Compression.XZ: Engines((b"\xfd7zXZ\0",), _xz, (lzma.LZMAError,)),
}


def sniff(head: bytes) -> Compression:
    """Tell from its first bytes (`MOST_MAGIC`, or all) how a stream is compressed."""
    for compression, engines in ENGINES.items():
        if head.startswith(engines.magics):
            return compression
    return Compression.PLAIN


class _Lz4Compressor:
    def __init__(self, level: int) -> None:
        self._frame = lz4.frame.LZ4FrameCompressor(compression_level=level, content_checksum=True)
        self._begun = False

    def compress(self, data: bytes, /) -> bytes:
        head = b"" if self._begun else bytes(self._frame.begin())
        self._begun = True
        return head + bytes(self._frame.compress(data))

    def flush(self) -> bytes:
        return self.compress(b"") + bytes(self._frame.flush())


class _Plain:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


def compressor(compression: Compression, level: int | None = None) -> Compressor:
    """Return a compressor that writes neither time nor name; None: the library's usual level.

    gzip is zlib's: isal's is five times as fast, but its output depends on the processor, and a
    layer that is pushed again should have the same digest.

    Raises:
        ValueError: only GZIP, ZSTD, LZ4 and PLAIN are written.
    """
    match compression:
        case Compression.PLAIN:
            return _Plain()
        case Compression.GZIP:
            return zlib.compressobj(6 if level is None else level, wbits=31)
        case Compression.ZSTD:
            return zstd.ZstdCompressor(level, options=None)
        case Compression.LZ4:
            return _Lz4Compressor(level or 0)
        case _:
            raise ValueError(f"{compression.value} is only read")
