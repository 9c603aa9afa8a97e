"""What can be wrong with a tar, and with the compressed stream that it comes in."""

from __future__ import annotations

import errno

from overlayfs_py.errors import OverlayError
from overlayfs_py.terminal_text import quoted


class BadTar(OverlayError):
    """Bytes that are no tar, or a tar that nobody may unpack; says where, and which entry."""

    exit_code = 23

    def __init__(self, why: str, offset: int, entry: bytes | None = None) -> None:
        """`entry` is the name as far as it is known, `offset` counts uncompressed bytes."""
        shown = "" if not entry else f" ({quoted(entry)})"
        super().__init__(errno.EINVAL, f"bad tar at byte {offset}{shown}: {why}")


class BadMember(BadTar):
    """An entry whose header is a tar's, and that no layer can have."""


class BadCompression(OverlayError):
    """A compressed stream that is damaged, cut short, or followed by something else."""

    exit_code = 23

    def __init__(self, why: str, offset: int) -> None:
        """`offset` counts compressed bytes."""
        super().__init__(errno.EINVAL, f"bad compressed data at byte {offset}: {why}")


class TooLarge(OverlayError):
    """A stream that has more bytes than its reader allows."""

    exit_code = 23

    def __init__(self, limit: int) -> None:
        super().__init__(errno.EFBIG, f"more than {limit} bytes when uncompressed")


class BadSplit(OverlayError):
    """A recording from which no tar can be rebuilt."""

    exit_code = 20

    def __init__(self, why: str) -> None:
        super().__init__(errno.EIO, f"cannot rebuild the tar: {why}")
