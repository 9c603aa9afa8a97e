"""Why a request of containerd's cannot be met, in the classes and the words that it knows."""

from __future__ import annotations

import errno
import json
from enum import Enum

from overlayfs_py.errors import OverlayError

# A message travels in a header of HTTP/2, where a name of 32 KiB has no room.
_LONGEST_NAME = 200


class Class(Enum):
    """containerd's classes of errors (errdefs); the text is what it ends a message with."""

    NOT_FOUND = "not found"
    ALREADY_EXISTS = "already exists"
    FAILED_PRECONDITION = "failed precondition"
    INVALID_ARGUMENT = "invalid argument"


_ERRNO = {
    Class.NOT_FOUND: errno.ENOENT,
    Class.ALREADY_EXISTS: errno.EEXIST,
    Class.FAILED_PRECONDITION: errno.EBUSY,
    Class.INVALID_ARGUMENT: errno.EINVAL,
}


class Refused(OverlayError):
    """A request that cannot be met; nothing has changed."""

    def __init__(self, kind: Class, reason: str) -> None:
        self.kind = kind
        super().__init__(_ERRNO[kind], f"{reason}: {kind.value}")

    @property
    def message(self) -> str:
        """What containerd is told."""
        return str(self.strerror)


def quoted(name: str) -> str:
    """A name in a message: between quotes, without control characters, shortened."""
    short = name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "..."
    return json.dumps(short)
