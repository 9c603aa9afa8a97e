"""Doing something as an ordinary user, in a process of its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ALICE, BOB = 1000, 1001


def errno_as(uid: int, call: Callable[[], object], *, groups: Sequence[int] = ()) -> int:
    """Call something with the ids of a user; returns the errno that it ends in, 0 for none."""
    pid = os.fork()
    if not pid:
        number = 255
        try:
            os.setgroups(groups)
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            call()
            number = 0
        except OSError as error:
            number = error.errno or 255
        finally:
            os._exit(number)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
