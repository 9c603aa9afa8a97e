"""What ps(1) shows of this process: the memory that its words were put into.

The kernel shows what lies there; where the last byte of it is no NUL, a program has put one text
there, which ends with the first NUL (fs/proc/base.c, get_mm_cmdline and get_mm_proctitle). Python
has copied its words.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_ARG_START, _ARG_END = 45, 46  # proc_pid_stat(5), less 3
_ONE_TEXT = b"\0."  # at the end


def show(words: Sequence[bytes], name: bytes) -> None:
    """Have ps(1) show this name (15 bytes) and these words, as many as there is room for.

    There is as much room as the words had that this process was started with.
    """
    with open("/proc/self/comm", "wb", 0) as file:
        file.write(name)
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    start, end = int(fields[_ARG_START]), int(fields[_ARG_END])
    room = end - start - len(_ONE_TEXT)
    if room > 0:
        title = b" ".join(words)[:room]
        ctypes.memmove(start, title.ljust(room, b"\0") + _ONE_TEXT, end - start)
