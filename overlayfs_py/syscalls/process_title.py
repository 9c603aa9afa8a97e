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


def show_words(words: Sequence[bytes]) -> None:
    """Have ps(1) show these words, as many as there is room for: what was there at the start."""
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    start, end = int(fields[_ARG_START]), int(fields[_ARG_END])
    room = end - start - len(_ONE_TEXT)
    if room > 0:
        title = b" ".join(words)[:room]
        ctypes.memmove(start, title.ljust(room, b"\0") + _ONE_TEXT, end - start)
