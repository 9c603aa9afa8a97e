"""An open pack: its footer, its index, its data."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from typing import TYPE_CHECKING

from overlayfs_py.packs.chunks import ChunkCache, Chunks
from overlayfs_py.packs.errors import CorruptLayer
from overlayfs_py.packs.format import (
    DIGEST_SIZE,
    FOOTER_SIZE,
    HEADER,
    MAGIC,
    BadFooter,
    header,
    parse_footer,
)
from overlayfs_py.packs.index import Index
from overlayfs_py.packs.reader import PackReader

if TYPE_CHECKING:
    from typing import Self

    from overlayfs_py.packs.arrivals import Arrivals
    from overlayfs_py.packs.format import Footer, Inode

_HERE = b"layer.here"  # as `arrivals.HERE`
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


class Pack:
    """One pack, open for reading. Opening reads a footer and some digests, whatever its size."""

    def __init__(self, path: bytes, cache: ChunkCache | None = None) -> None:
        """Open the pack at `path`; `cache` keeps its chunks beside those of other packs.

        Raises:
            CorruptLayer: it is no pack, a torn one, or of another version.
            OSError: it cannot be read.
        """
        self.path = path
        self._fd = os.open(path, _OPEN)
        try:
            self.footer = self._read_footer()
            self.index = Index(self._fd, self.footer, self._read_digests(), path)
        except BaseException:
            os.close(self._fd)
            raise
        cache = ChunkCache() if cache is None else cache
        self.chunks = Chunks(self._fd, self.footer, self.index, cache, path, self._arrivals())

    def close(self) -> None:
        """Close the file; readers cannot be used any more."""
        self.chunks.close()
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_whole(self) -> bool:
        """Whether all of it was there when it was opened."""
        return self.chunks.arrivals is None

    @property
    def fd(self) -> int:
        """The descriptor of the file, owned by the pack."""
        return self._fd

    @property
    def digest(self) -> bytes:
        """SHA-256 that covers all of the pack, as in its summary."""
        return self.footer.pack()[-DIGEST_SIZE:]

    def reader(self, inode: Inode) -> PackReader:
        """Return what reads a regular file, one that lost its name too."""
        if not stat.S_ISREG(inode.mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), self.path)
        return PackReader(self.index, self.chunks, inode, self.path)

    def _arrivals(self) -> Arrivals | None:
        if not os.path.exists(os.path.join(os.path.dirname(self.path), _HERE)):
            return None
        # Only for a pack that is still coming: a start need not load it.
        from overlayfs_py.packs.arrivals import find_arrivals

        try:
            return find_arrivals(self.path)
        except BaseException:
            os.close(self._fd)
            raise

    def _read_footer(self) -> Footer:
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            raise CorruptLayer(self.path, "a pack is a regular file")
        if not os.pread(self._fd, len(MAGIC), 0) == MAGIC:
            raise CorruptLayer(self.path, "it does not begin as a pack does")
        start = max(0, status.st_size - FOOTER_SIZE)
        try:
            footer = parse_footer(os.pread(self._fd, FOOTER_SIZE, start), status.st_size)
        except BadFooter as error:
            raise CorruptLayer(self.path, str(error)) from None
        if os.pread(self._fd, HEADER.size, 0) != header(footer.chunk_log2):
            raise CorruptLayer(self.path, "its header is damaged")
        return footer

    def _read_digests(self) -> bytes:
        footer = self.footer
        start = footer.index_offset + footer.index_length
        digests = os.pread(self._fd, footer.pages * DIGEST_SIZE, start)
        if hashlib.sha256(digests).digest() != footer.digests_sha256:
            raise CorruptLayer(self.path, "the digests of its index are damaged")
        return digests


def is_pack(path: bytes) -> bool:
    """Whether a regular file begins as a pack does; a directory, say, does not."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        return False
    fd = os.open(path, _OPEN)
    try:
        return os.pread(fd, len(MAGIC), 0) == MAGIC
    finally:
        os.close(fd)
