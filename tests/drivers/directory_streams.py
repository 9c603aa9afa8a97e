"""opendir(3), readdir, telldir and seekdir of the C library, which Python does not offer."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

_libc = ctypes.CDLL(None, use_errno=True)
_libc.opendir.restype = ctypes.c_void_p
_libc.readdir64.restype = ctypes.c_void_p
_libc.telldir.restype = ctypes.c_long
for _function in (_libc.readdir64, _libc.telldir, _libc.closedir):
    _function.argtypes = [ctypes.c_void_p]
_libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
_NAME_OFFSET = 19  # struct dirent64 of Linux: d_ino, d_off, d_reclen, d_type, d_name


class Stream:
    """An open directory that is read bit by bit."""

    def __init__(self, path: Path) -> None:
        self._stream = _libc.opendir(os.fsencode(path))
        assert self._stream, os.strerror(ctypes.get_errno())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _libc.closedir(self._stream)

    def take(self, most: int) -> list[str]:
        """Return the next names, at most so many, without the dots."""
        names: list[str] = []
        while len(names) < most and (entry := _libc.readdir64(self._stream)):
            name = os.fsdecode(ctypes.string_at(entry + _NAME_OFFSET))
            if name not in (".", ".."):
                names.append(name)
        return names

    def tell(self) -> int:
        return int(_libc.telldir(self._stream))

    def seek(self, place: int) -> None:
        _libc.seekdir(self._stream, place)
