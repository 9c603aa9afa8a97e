"""What can be wrong with what goes into a pack, and with a pack."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from overlayfs_py.errors import CorruptLayer, OverlayError

if TYPE_CHECKING:
    from typing import BinaryIO

__all__ = ["BadEntry", "CorruptLayer", "Unwritten"]


class BadEntry(OverlayError):
    """An object that no pack can hold."""

    exit_code = 22

    def __init__(self, why: str, number: int = errno.EINVAL) -> None:
        super().__init__(number, why)


class Unwritten(OverlayError):
    """A pack that its file does not take: it is about that file, whatever was being packed."""

    def __init__(self, out: BinaryIO, cause: OSError) -> None:
        name = getattr(out, "name", None)
        super().__init__(cause.errno, cause.strerror, name if isinstance(name, str) else None)
