"""Packs whose digests are right, whatever their tables say."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from overlayfs_py.packs.format import DIGEST_SIZE, FOOTER_SIZE, PAGE_SIZE, parse_footer

if TYPE_CHECKING:
    from collections.abc import Callable


def resealed(pack: bytes, change: Callable[[bytearray, dict[int, tuple[int, int]]], None]) -> bytes:
    """Change the index, then make digests and footer say that it is right."""
    footer = parse_footer(pack[-FOOTER_SIZE:], len(pack))
    index = bytearray(pack[footer.index_offset :][: footer.index_length])
    change(index, {section.id: section[1:] for section in footer.sections})
    digests = b"".join(
        hashlib.sha256(index[start : start + PAGE_SIZE]).digest()
        for start in range(0, len(index), PAGE_SIZE)
    )
    assert len(digests) == footer.pages * DIGEST_SIZE
    sealed = type(footer)(
        footer.chunk_log2,
        footer.file_size,
        footer.index_offset,
        footer.index_length,
        hashlib.sha256(digests).digest(),
        footer.sections,
    )
    return pack[: footer.index_offset] + index + digests + sealed.pack()
