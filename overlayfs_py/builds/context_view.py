"""A context as a .dockerignore leaves it."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from overlayfs_py.builds.context import Context, Item, Path
    from overlayfs_py.dockerfile.ignore import Ignored, IgnoreRules


class ContextView:
    """What a build sees of a context."""

    def __init__(self, context: Context, ignore: IgnoreRules | None) -> None:
        self.context = context
        self._told: dict[Path, Ignored] = {} if ignore is None else {(): ignore.root}

    def told_of(self, item: Item) -> Ignored | None:
        """Return what the rules say of an object, None if there are none."""
        return self._told_of(item.path, keep=item.is_directory) if self._told else None

    def _told_of(self, path: Path, *, keep: bool = True) -> Ignored:
        told = self._told.get(path)
        if told is None:
            told = self._told_of(path[:-1]).below(text_of(path))
            if keep:
                self._told[path] = told
        return told

    def is_hidden(self, item: Item) -> bool:
        """Whether a rule hides an object; of a directory something may show all the same."""
        told = self.told_of(item)
        return told is not None and told.excluded

    def may_have(self, directory: Item) -> bool:
        """Whether there may be anything below a directory that is not hidden."""
        told = self.told_of(directory)
        return told is None or not told.excluded or told.may_show(text_of(directory.path))

    def is_there(self, item: Item) -> bool:
        """Whether an object shows: itself, or a directory for what is in it."""
        if not self.is_hidden(item):
            return True
        if not item.is_directory or not self.may_have(item):
            return False
        return any(self.is_there(child) for child in self.context.children(item))

    def children(self, directory: Item) -> list[Item]:
        """Return what is in a directory but for hidden files; hidden directories may show."""
        found = self.context.children(directory)
        if not self._told:
            return found
        return [child for child in found if not self.is_hidden(child) or self._is_way(child)]

    def require(self, directory: Item, name: bytes) -> Item:
        """Return a child.

        Raises:
            FileNotFoundError: there is none, or a rule hides it with all below it.
        """
        found = self.context.look(directory, name) if directory.is_directory else None
        if found is None or (self.is_hidden(found) and not self._is_way(found)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return found

    def _is_way(self, item: Item) -> bool:
        return item.is_directory and self.may_have(item)


def text_of(path: Path) -> str:
    """A path as patterns see it."""
    return os.fsdecode(b"/".join(path))
