"""READDIR and READDIRPLUS: pages of a directory's names; those of a large one are read in steps."""

from __future__ import annotations

import stat
import time
from typing import TYPE_CHECKING

from overlayfs_py.drivers.cookies import (
    LARGE,
    PAGE_LOOKS,
    PAGE_S,
    PAGE_SPREAD,
    PARENT_COOKIE,
    SELF_COOKIE,
    Listing,
    Listings,
)
from overlayfs_py.drivers.direct_values import entry_size
from overlayfs_py.wire import replies

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from overlayfs_py.drivers.slices import Slices
    from overlayfs_py.union.core import Node, Union
    from overlayfs_py.union.values import Attributes
    from overlayfs_py.wire import requests

_LONG_PAGE = 16 * 1024  # bytes: about 500 names, 4 ms
_UNKNOWN_INO = 0xFFFFFFFF  # what libfuse says where it does not know; 0 would hide the name


class DirectListings(Listings):
    """The listings of one mount, and the answers that they make."""

    def __init__(
        self, union: Union, slices: Slices, entry_held: Callable[[Node, Attributes], bytes]
    ) -> None:
        """`entry_held` makes the answer after which the kernel refers to a node once more."""
        super().__init__()
        self._union = union
        self._slices = slices
        self._entry_held = entry_held

    def answer(
        self, directory: Node, wanted: requests.Read, *, plus: bool
    ) -> bytes | Awaitable[bytes]:
        """Return one page."""
        listing = self.find(directory.ino)
        if listing is None or wanted.offset == 0:
            if self._union.lists_long(directory):
                return self._answer_later(directory, wanted, plus=plus)
            listing = self.take(directory.ino, self._union.names(directory))
        return self._page(listing, directory, wanted, plus=plus)

    async def _answer_later(self, directory: Node, wanted: requests.Read, *, plus: bool) -> bytes:
        names = await self._slices.run(self._union.naming(directory))
        listing = await self._slices.run(self.taking(directory.ino, names))
        return self._page(listing, directory, wanted, plus=plus)

    def _page(
        self, listing: Listing, directory: Node, wanted: requests.Read, *, plus: bool
    ) -> bytes:
        # Of a large one a page of 128 KiB would be 30 ms of lookups, which all others wait.
        room = wanted.size if len(listing) < LARGE else min(wanted.size, _LONG_PAGE)
        pieces: list[bytes] = []
        if wanted.offset < PARENT_COOKIE:
            for piece in self._dots(directory, wanted.offset, plus=plus):
                pieces.append(piece)
                room -= len(piece)
        cookie = max(wanted.offset, PARENT_COOKIE)
        until = time.thread_time() + PAGE_S
        while True:
            cookies, names = _fitting(listing, cookie, room, plus=plus)
            if not names:
                break
            listed = self._some(directory, cookies, names, until, plus=plus)
            pieces += listed
            # An empty answer would be the end: not while all that was to be in it is gone.
            if pieces:
                break
            cookie = cookies[-1]
        return b"".join(pieces)

    def _some(
        self,
        directory: Node,
        cookies: Sequence[int],
        names: Sequence[bytes],
        until: float,
        *,
        plus: bool,
    ) -> list[bytes]:
        """What there is of some names, up to where it takes long; `until` is of thread_time."""
        pieces: list[bytes] = []
        spread = looks = 0
        told = self._union.tell(directory, names, hold=plus)
        for cookie, name, found in zip(cookies, names, told, strict=True):
            if found is not None:
                # As `_listed` has it, but for the calls: nearly all names come here.
                pieces.append(
                    replies.listed_entry(found, replies.NEVER, cookie, name)
                    if plus
                    else replies.directory_entry(found.ino, cookie, found.mode, name)
                )
                continue
            if looks % PAGE_LOOKS == 0 and pieces and time.thread_time() > until:
                break
            looks += 1
            listed, found_in = self._listed(directory, name, cookie, plus=plus)
            if listed is not None:
                pieces.append(listed)
            spread += found_in
            if spread >= PAGE_SPREAD:
                break
        return pieces

    def _listed(
        self, directory: Node, name: bytes, cookie: int, *, plus: bool
    ) -> tuple[bytes | None, int]:
        """One entry, and the spread of what it is."""
        try:
            seen = self._union.look(directory, name)
        except FileNotFoundError:
            return None, 0  # gone since, behind our back in a volume
        except OSError:
            # Whoever uses it is told; its neighbours are not hidden by it.
            unknown = replies.directory_entry(_UNKNOWN_INO, cookie, 0, name)
            return replies.ABSENT + unknown if plus else unknown, 0
        if seen is None:
            return None, 0
        node, found = seen
        plain = replies.directory_entry(node.ino, cookie, found.mode, name)
        return self._entry_held(node, found) + plain if plus else plain, node.spread

    def _dots(self, directory: Node, offset: int, *, plus: bool) -> list[bytes]:
        """The entries "." and "..", of which the kernel takes nothing but name and number.

        Node 0 in their place does not say that they are missing (fuse_direntplus_link).
        """
        above = self._union.parent(directory)
        dots = ((SELF_COOKIE, b".", directory), (PARENT_COOKIE, b"..", above))
        return [
            (replies.ABSENT if plus else b"")
            + replies.directory_entry(node.ino, cookie, stat.S_IFDIR, name)
            for cookie, name, node in dots
            if cookie > offset
        ]


def _fitting(
    listing: Listing, cookie: int, room: int, *, plus: bool
) -> tuple[Sequence[int], list[bytes]]:
    """The names behind a cookie that an answer has room for, and their cookies."""
    cookies, names = listing.after(cookie, max(0, room) // entry_size(b"", plus=plus))
    count = 0
    for name in names:
        room -= (152 if plus else 24) + (len(name) + 7 & ~7)  # `entry_size`, for each name
        if room < 0:
            break
        count += 1
    return cookies[:count], names[:count]
