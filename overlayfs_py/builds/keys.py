"""The key of a step: named parts, all that its layer depends on and nothing else."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec import Struct

from overlayfs_py.image.digest import digest_of_hex

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.image.digest import Digest

# Another one wherever a part comes to mean something else: no old record is found then.
VERSION = "overlayfs-py build 1"
# What a step stands on, by its content: the chain ID of the layers below, however they were made.
PARENT = "parent"
INSTRUCTION = "instruction"
FILES = "files"


class CacheKey(Struct, frozen=True, dict=True):
    """The parts of a key, in their order; a part that a step does not depend on is left out."""

    parts: tuple[tuple[str, str], ...]

    @cached_property
    def digest(self) -> Digest:
        """The digest of all parts, each with its length: none can be taken for another's part."""
        hashed = hashlib.sha256()
        for piece in self._pieces():
            data = piece.encode("utf-8", "surrogateescape")
            hashed.update(b"%d:" % len(data))
            hashed.update(data)
        return digest_of_hex(hashed.hexdigest())

    def _pieces(self) -> Iterator[str]:
        yield VERSION
        for name, value in self.parts:
            yield name
            yield value


def key_of(parts: dict[str, str | None]) -> CacheKey:
    """Return the key of some parts, those that are None or empty left out."""
    return CacheKey(tuple((name, value) for name, value in parts.items() if value))
