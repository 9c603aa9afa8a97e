"""The lines that `mount -d` logs, the same for both drivers."""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.terminal_text import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping


class Asked(NamedTuple):
    """A request that has no answer yet."""

    what: str
    began_ns: int

    def answered(self, number: int, told: str = "done") -> str:
        """Return the whole line, for the errno `number`, or for `told` where that is 0."""
        taken_ms = (time.perf_counter_ns() - self.began_ns) / 1e6
        name = errno.errorcode.get(number, str(number)) if number else told
        return f"{self.what}: {name}, {taken_ms:.2f} ms"


def described(request: str, fields: Mapping[str, object]) -> str:
    """Return a request in words: `lookup node=1 name='etc' uid=0 pid=42`."""
    return " ".join([request, *(f"{name}={_shown(value)}" for name, value in fields.items())])


def _shown(value: object) -> str:
    if isinstance(value, memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, bytes):
        return quoted(value)
    return str(value)
