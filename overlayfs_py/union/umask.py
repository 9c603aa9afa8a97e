"""The process's umask: 0 as long as a union is open, however many are, and closed in any order.

Modes are given in full with every creation; the umask that counts is the caller's. It is the
process's own, as the number of its open unions is, which stands here for that reason.
"""

from __future__ import annotations

import os


class _Umask:
    """Counts who needs it to be 0."""

    def __init__(self) -> None:
        self._users = 0
        self._own = 0

    def clear(self) -> None:
        """Let it be 0 until `restore` has been called as often."""
        if not self._users:
            self._own = os.umask(0)
        self._users += 1

    def restore(self) -> None:
        self._users -= 1
        if not self._users:
            os.umask(self._own)


UMASK = _Umask()
