"""What can be wrong with what goes into a pack, and with a pack."""

from __future__ import annotations

import errno

from overlayfs_py.errors import CorruptLayer, OverlayError

__all__ = ["BadEntry", "CorruptLayer"]


class BadEntry(OverlayError):
    """An object that no pack can hold."""

    exit_code = 22

    def __init__(self, why: str, number: int = errno.EINVAL) -> None:
        super().__init__(number, why)
