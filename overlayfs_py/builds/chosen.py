"""The files that a step takes, looked at as late as can be.

What files of layers come to depends on nothing but the layers and on what is selected, so that a
cache elsewhere may know it: then nobody has to have the layers here.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from msgspec import Struct

from overlayfs_py.builds.fingerprint import fingerprint
from overlayfs_py.builds.keys import key_of
from overlayfs_py.builds.modes import AS_IT_IS, Mode

if TYPE_CHECKING:
    from collections.abc import Callable

    from overlayfs_py.builds.fingerprint import Fingerprint
    from overlayfs_py.builds.imported import Imported
    from overlayfs_py.builds.request import BuildContext
    from overlayfs_py.builds.selection import Selected
    from overlayfs_py.builds.stat_cache import StatCache
    from overlayfs_py.image.digest import Digest


class Origin(Struct, frozen=True):
    """Where files are taken from."""

    open: Callable[[], BuildContext]
    stack: str = ""  # the chain ID of its layers; empty for what may change


class Chosen(Struct, frozen=True, dict=True):
    """Files that were asked for."""

    select: Callable[[], tuple[Selected, ...]]
    stats: Callable[[], StatCache | None]
    imported: Imported
    mode: Mode = AS_IT_IS  # of --chmod
    owned: bool = False  # by --chown
    # What was asked for of which layers, as parts of a key; None where files may change.
    asked: dict[str, str | None] | None = None

    @cached_property
    def selected(self) -> tuple[Selected, ...]:
        """The files themselves."""
        return self.select()

    @cached_property
    def digest(self) -> str:
        """What they come to."""
        known = "" if self._key is None else self.imported.selection(self._key)
        return known or self._fingerprint.digest

    def table(self) -> bytes:
        """What is known of each."""
        return self._fingerprint.table()

    @property
    def known(self) -> tuple[tuple[str, str], ...]:
        """What others may know by: the key of the selection, and the digest."""
        return () if self._key is None else ((self._key, self.digest),)

    @cached_property
    def _key(self) -> Digest | None:
        if self.asked is None:
            return None
        octal = "" if self.mode.octal is None else "yes"
        owned = "yes" if self.owned else ""
        return key_of({**self.asked, "octal": octal, "owned": owned}).digest

    @cached_property
    def _fingerprint(self) -> Fingerprint:
        selected = self.selected
        return fingerprint(selected, mode=self.mode, owned=self.owned, stats=self.stats())
