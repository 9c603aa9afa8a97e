"""Which names of a mount's layers have been used, in the order of their first use.

What the kernel answers by itself reaches no daemon, and need not: the first use of each kind does.

- look: a name is looked up, by stat(2), open(2), exec(2) or as a part of a path. One that a listing
  has told with its attributes (READDIRPLUS) is not: there is none such where the record is `exact`.
- read: data is read, mapped or executed. Nothing is missed, since each mount has pages of its own;
  an empty file has no data, and is just looked up.
- link: a symbolic link is followed or read. list: a directory is listed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.union.nodes import DirectoryNode, FileNode

if TYPE_CHECKING:
    from overlayfs_py.union.nodes import Node

_LOOK, _READ, _LINK, _LIST = 1, 2, 4, 8
_WORDS = {_LOOK: "look", _READ: "read", _LINK: "link", _LIST: "list"}
_Name = tuple[int, bytes]  # a directory's number, and a name in it
_ROOT: _Name = (0, b"")


class Use(NamedTuple):
    """How a path was used."""

    path: bytes  # absolute
    kinds: frozenset[str]


class Uses:
    """The record of one mount."""

    def __init__(self, *, exact: bool = False) -> None:
        """Begin with nothing. `exact`: the kernel asks for each name before it shows it."""
        self.exact = exact
        self._kinds: dict[_Name, int] = {}
        self._places: dict[int, _Name] = {}  # of directories, by number

    def look(self, parent: Node, name: bytes, node: Node) -> None:
        """Take note that a name was looked up."""
        key = (parent.ino, name)
        if key not in self._kinds and _is_of_layers(node):
            self._kinds[key] = _LOOK
            self._remember(parent)

    def read(self, node: Node) -> None:
        """Take note that a file's data is read."""
        self._note(node, _READ)

    def follow(self, node: Node) -> None:
        """Take note that a symbolic link's target is read."""
        self._note(node, _LINK)

    def enumerate(self, node: Node) -> None:
        """Take note that a directory is listed."""
        self._note(node, _LIST)

    def _note(self, node: Node, kind: int) -> None:
        key = _ROOT if node.parent is None else (node.parent.ino, node.name)
        known = self._kinds.get(key, 0)
        if known & kind or not _is_of_layers(node):
            return
        self._kinds[key] = known | kind
        if node.parent is not None:
            self._remember(node.parent)

    def _remember(self, directory: Node) -> None:
        """Keep where a directory is: its node may be forgotten, its number is its own for ever."""
        while directory.parent is not None and directory.ino not in self._places:
            self._places[directory.ino] = (directory.parent.ino, directory.name)
            directory = directory.parent

    def recorded(self) -> list[Use]:
        """Return all, by first use."""
        return [
            Use(self._path(key), frozenset(word for kind, word in _WORDS.items() if kinds & kind))
            for key, kinds in self._kinds.items()
        ]

    def _path(self, name: _Name) -> bytes:
        number, last = name
        names = [last]
        while number in self._places:
            number, above = self._places[number]
            names.append(above)
        return b"/" + b"/".join(reversed(names))


def _is_of_layers(node: Node) -> bool:
    if not node.cacheable:
        return False  # a volume's
    if isinstance(node, FileNode):
        # In an upper of before there are the container's own files, too, by their own numbers.
        return node.is_copy or (node.lower is not None and node.ino != node.own)
    return isinstance(node, DirectoryNode) and bool(node.lowers)
