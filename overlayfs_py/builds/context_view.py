"""A context as a .dockerignore leaves it."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from overlayfs_py.builds.context import Context, Item, Path


class Rule(Protocol):
    """One line that decided about a path."""

    @property
    def excludes(self) -> bool:
        """Whether it hides the path; a line with `!` shows it."""

    @property
    def text(self) -> str:
        """The line as it was written."""

    @property
    def line(self) -> int:
        """Its number in its file."""


class Rules(Protocol):
    """Lines of which the last that matches a path, or a directory above it, decides."""

    @property
    def has_exceptions(self) -> bool:
        """Whether a line shows something again."""

    def match(self, path: str, is_directory: bool) -> Rule | None:
        """Return the line that decides about a path below the root."""


class ContextView:
    """What a build sees of a context."""

    def __init__(self, context: Context, ignore: Rules | None) -> None:
        self.context = context
        self._ignore = ignore

    def rule_of(self, item: Item) -> Rule | None:
        """Return the rule that hides an object, taken by itself."""
        if self._ignore is None or not item.path:
            return None
        rule = self._ignore.match(text_of(item.path), item.is_directory)
        return rule if rule is not None and rule.excludes else None

    def is_hidden(self, item: Item) -> bool:
        """Whether a rule hides an object; of a directory something may show all the same."""
        return self.rule_of(item) is not None

    def may_have(self, directory: Item) -> bool:
        """Whether there may be anything below a directory that is not hidden."""
        if self._ignore is None or self._ignore.has_exceptions:
            return True
        return not self.is_hidden(directory)

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
        if self._ignore is None:
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
