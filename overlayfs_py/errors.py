"""Errors that a plain OSError cannot tell apart; each carries its errno and an exit code."""

from __future__ import annotations

import errno


class OverlayError(OSError):
    """A failure of ours; `exit_code` is what a command ends with."""

    exit_code = 1


class CorruptLayer(OverlayError):
    """A layer says something that no layer can say."""

    exit_code = 20

    def __init__(self, path: bytes, why: str) -> None:
        super().__init__(errno.EIO, why, path)


class ReservedName(OverlayError):
    """A name that means a deletion in a layer cannot be the name of a file."""

    exit_code = 21

    def __init__(self, name: bytes) -> None:
        super().__init__(errno.EPERM, "names that begin with .wh. mean deletions", name)


class ReservedXattr(OverlayError):
    """An xattr that means something in a layer cannot be set through the mount."""

    exit_code = 21

    def __init__(self, name: bytes) -> None:
        super().__init__(errno.EPERM, "this xattr describes the layer itself", name)
