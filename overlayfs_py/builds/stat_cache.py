"""Digests of files that have not changed since they were read: their stamps say so.

A file's stamp has its inode, size, mode and both times; ctime changes with every change, and nobody
can set it back. A file that changed so shortly before it was read that another change might leave
its stamp as it is ("racily clean", as git has it) is not taken: it is read again the next time.
The cache may be lost, or damaged, at any time: then files are read again.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from overlayfs_py.builds.contents import Digests

if TYPE_CHECKING:
    from pathlib import Path as HostPath

    from overlayfs_py.builds.context import Path

_VERSION = 1
_SPARE = 10_000  # files that a build may leave alone and the next one ask for
_Known = dict[bytes, tuple[tuple[int, ...], bytes, bytes]]


class StatCache:
    """What is known of the files of one context. Read as a whole, written as a whole."""

    def __init__(self, directory: HostPath, name: str) -> None:
        """`directory` is the store's for such caches, made where it is missing."""
        self._path = directory / name
        self._known = _read(self._path)
        self._used: set[bytes] = set()
        self._is_new = False

    def find(self, path: Path, stamp: tuple[int, ...]) -> Digests | None:
        """Return what a file holds if its stamp is still the same."""
        key = b"/".join(path)
        known = self._known.get(key)
        if known is None or known[0] != stamp:
            return None
        self._used.add(key)
        return Digests(known[1], known[2])

    def put(self, path: Path, stamp: tuple[int, ...], digests: Digests) -> None:
        """Remember what a file holds."""
        key = b"/".join(path)
        self._known[key] = (stamp, *digests)
        self._used.add(key)
        self._is_new = True

    def save(self) -> None:
        """Write what was learned; a failure loses only that."""
        if not self._is_new:
            return
        if len(self._known) > 2 * len(self._used) + _SPARE:  # most are of files that have gone
            self._known = {key: self._known[key] for key in self._used}
        import secrets  # a build of which nothing has changed writes nothing

        temporary = self._path.with_name(f"{secrets.token_hex(8)}.tmp")
        with suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                temporary.write_bytes(msgspec.msgpack.encode((_VERSION, self._known)))
                temporary.replace(self._path)
            finally:
                temporary.unlink(missing_ok=True)
        self._is_new = False


def _read(path: HostPath) -> _Known:
    with suppress(OSError, msgspec.DecodeError, ValueError):
        version, known = msgspec.msgpack.decode(path.read_bytes(), type=tuple[int, _Known])
        if version == _VERSION:
            return known
    return {}
