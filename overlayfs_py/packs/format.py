"""The pack format as tables: every record, every number. `docs/PACK.md` is its specification.

Pure: nothing here does IO. All integers are little-endian. A pack is a header, chunks (stored
data, back to back), the index (sections of records, digested by the page), the pages' digests and
a footer: written in one pass, read from its end.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from enum import IntEnum

from overlayfs_py.named_tuple import NamedTuple

VERSION = 1
MAGIC = b"\x93OLPACK\n"
FOOTER_MAGIC = b"\x93OLPEND\n"

HEADER = struct.Struct("<8sHB53x")  # magic, version, chunk_log2
# magic, version, chunk_log2, how many sections, file size, index offset, index length, SHA-256 of
# the page digests; the section table and the footer's own SHA-256 follow.
FOOTER_HEAD = struct.Struct("<8sHBB4xQQQ32s")
SECTION = struct.Struct("<I4xQQ")  # id, offset from the start of the index, length
MOST_SECTIONS = 16
FOOTER_SIZE = 512
_FOOTER_BODY = FOOTER_SIZE - 32

# mode, flags, uid, gid, nlink, size, mtime s, atime s, mtime ns, atime ns, first, amount, xattrs
INODE = struct.Struct("<HHIIIQqqIIQII")
DIRENT = struct.Struct("<IIIBB2x")  # CRC-32 of the name, name offset, inode, name length, type
EXTENT = struct.Struct("<QQQ")  # offset in the file, length, address of the data
# Above the length, which is at most a chunk's, stands the codec.
CHUNK_CODEC_SHIFT = 24
CHUNK_LENGTH_MASK = (1 << CHUNK_CODEC_SHIFT) - 1
CHUNK = struct.Struct("<QII32s")  # offset in the pack, stored length, codec and length, SHA-256
LINK = struct.Struct("<III")  # inode, directory's inode, dirent
XATTR_SET = struct.Struct("<II")  # how many, length of the set with this head
XATTR_ALIGNMENT = 8  # of sets; the first one follows as many zeros
XATTR = struct.Struct("<HxxI")  # length of the name, of the value; both follow

PAGE_LOG2 = 14
PAGE_SIZE = 1 << PAGE_LOG2
DIGEST_SIZE = 32
ALIGNMENT = 64  # of the index and of every section in it
LEAST_CHUNK_LOG2 = 12
MOST_CHUNK_LOG2 = 20
# Bounds what a reader must take into memory before it can trust anything: 32 MiB of digests.
MOST_INDEX_BYTES = 1 << 34
MOST_XATTR_SET_BYTES = 1 << 24
MOST_XATTR_NAME_BYTES = 1 << 16  # as listxattr(2) lists them, each with a zero (XATTR_LIST_MAX)

ROOT = 0  # the root directory's inode
NO_INODE = 0xFFFFFFFF  # of a whiteout
NO_DIRENT = 0xFFFFFFFF  # of the root
LONGEST_NAME = 255
LONGEST_TARGET = 4095
LARGEST_FILE = (1 << 63) - 1
_SECOND_NS = 1_000_000_000


class SectionId(IntEnum):
    """What a section holds; a reader passes over ids that it does not know."""

    INODES = 1
    DIRENTS = 2
    NAMES = 3
    XATTRS = 4
    EXTENTS = 5
    CHUNKS = 6
    LINKS = 7
    META = 8  # canonical JSON: how the pack was made
    ORIGIN = 9  # canonical JSON: what it was made from
    TARSPLIT = 10  # what a tar has beside its files' data


REQUIRED = frozenset(range(SectionId.INODES, SectionId.META + 1))


class Flag(IntEnum):
    """Bits of an inode's flags."""

    OPAQUE = 1  # a directory that hides the layers below it
    INLINE = (
        2  # a file whose data is one piece from its beginning to its end: `first` is its address
    )
    SPARSE = 4  # a file with holes


class Codec(IntEnum):
    """How a chunk is stored."""

    RAW = 0
    LZ4 = 1  # one lz4 block


ALL_FLAGS = Flag.OPAQUE | Flag.INLINE | Flag.SPARSE


class Inode(NamedTuple):
    """One object. What `first` and `count` mean depends on its type."""

    mode: int  # type and permission bits
    flags: int
    uid: int
    gid: int
    nlink: int  # 0: it lost its name to a later object of the same name
    size: int  # bytes; of a directory its parent's inode, and from bit 32 on its dirent
    mtime_s: int
    atime_s: int
    mtime_ns: int
    atime_ns: int
    # A directory's first dirent, a file's first extent (or address), a symlink's target as an
    # offset in NAMES, a device's number: minor, and from bit 32 on major.
    first: int
    amount: int  # of dirents or extents
    xattrs: int  # offset in XATTRS of its set, 0 where it has none


class Section(NamedTuple):
    """Where a section lies in the index."""

    id: int
    offset: int
    length: int


class BadFooter(ValueError):
    """Bytes that are no footer of a pack that we can read."""


class Footer(NamedTuple):
    """What the last bytes of a pack say."""

    chunk_log2: int
    file_size: int
    index_offset: int
    index_length: int
    digests_sha256: bytes
    sections: tuple[Section, ...]

    def pack(self) -> bytes:
        """Return the footer's bytes, sealed by their own digest."""
        head = FOOTER_HEAD.pack(
            FOOTER_MAGIC,
            VERSION,
            self.chunk_log2,
            len(self.sections),
            self.file_size,
            self.index_offset,
            self.index_length,
            self.digests_sha256,
        )
        table = b"".join(SECTION.pack(*section) for section in self.sections)
        body = (head + table).ljust(_FOOTER_BODY, b"\0")
        return body + hashlib.sha256(body).digest()

    @property
    def pages(self) -> int:
        """How many pages the index has, the last one maybe short."""
        return -(-self.index_length // PAGE_SIZE)


def header(chunk_log2: int) -> bytes:
    """Return the bytes that a pack begins with."""
    return HEADER.pack(MAGIC, VERSION, chunk_log2)


def parse_footer(data: bytes, file_size: int) -> Footer:
    """Read a footer and check all that it says against itself and the file's size.

    Raises:
        BadFooter: it is damaged, of another version, or describes no pack.
    """
    if len(data) != FOOTER_SIZE or not data.startswith(FOOTER_MAGIC):
        raise BadFooter("it does not end as a pack does: truncated, or still being written")
    _, version, chunk_log2, count, size, offset, length, digests = FOOTER_HEAD.unpack_from(data)
    if version != VERSION:
        raise BadFooter(f"its format has version {version}, and this reads version {VERSION}")
    if hashlib.sha256(data[:_FOOTER_BODY]).digest() != data[_FOOTER_BODY:]:
        raise BadFooter("its footer is damaged")
    if count > MOST_SECTIONS:
        raise BadFooter("its footer makes no sense: too many sections")
    table = data[FOOTER_HEAD.size : FOOTER_HEAD.size + count * SECTION.size]
    sections = tuple(Section(*fields) for fields in SECTION.iter_unpack(table))
    footer = Footer(chunk_log2, size, offset, length, digests, sections)
    if footer.pack() != data:
        raise BadFooter("its footer makes no sense: reserved bytes are in use")
    _require_sense(footer, file_size)
    return footer


def _require_sense(footer: Footer, file_size: int) -> None:
    end = footer.index_offset + footer.index_length + footer.pages * DIGEST_SIZE + FOOTER_SIZE
    if footer.file_size != file_size or end != file_size:
        raise BadFooter(f"it has {file_size} bytes and should have {footer.file_size}")
    if not LEAST_CHUNK_LOG2 <= footer.chunk_log2 <= MOST_CHUNK_LOG2:
        raise BadFooter("its footer makes no sense: chunk size")
    if footer.index_offset < HEADER.size or footer.index_offset % ALIGNMENT:
        raise BadFooter("its footer makes no sense: place of the index")
    if footer.index_length > MOST_INDEX_BYTES:
        raise BadFooter("its index is too large")
    _require_order(footer)


def _require_order(footer: Footer) -> None:
    """Sections lie one after the other, with less than an alignment between them."""
    end = 0
    for section in footer.sections:
        if section.offset != aligned(end):
            raise BadFooter("its footer makes no sense: place of a section")
        end = section.offset + section.length
    ids = [section.id for section in footer.sections]
    if end != footer.index_length or len(set(ids)) != len(ids) or not set(ids) >= REQUIRED:
        raise BadFooter("its footer makes no sense: sections")
    if ids[0] != SectionId.INODES:
        raise BadFooter("its footer makes no sense: inodes come first")


def aligned(offset: int) -> int:
    """Return the next offset at which a section may begin."""
    return -(-offset // ALIGNMENT) * ALIGNMENT


# What a directory's names are sorted by, before the names themselves. By itself: a listing asks for
# that of each of its names.
name_hash = zlib.crc32


def split_ns(time_ns: int) -> tuple[int, int]:
    """Return seconds, maybe negative, and the nanoseconds to add."""
    return divmod(time_ns, _SECOND_NS)


def join_ns(seconds: int, nanoseconds: int) -> int:
    """Return a time in nanoseconds."""
    return seconds * _SECOND_NS + nanoseconds
