"""References are counted by number, whichever object has the number."""

from __future__ import annotations

import stat

from overlayfs_py.union.nodes import DirectoryNode, FileNode
from overlayfs_py.union.table import NodeTable

_INO = 7


def _node(root: DirectoryNode, file_type: int) -> FileNode:
    return FileNode(_INO, file_type, root, b"name")


def test_who_takes_a_number_over_takes_its_references_over() -> None:
    root = DirectoryNode(1, None, b"", None, ())
    dropped: list[object] = []
    table = NodeTable(root, dropped.append)
    old, new = _node(root, stat.S_IFREG), _node(root, stat.S_IFIFO)
    table.hold(old)
    table.hold(old)

    table.evict(old)
    table.hold(new)
    table.release(_INO, 2)

    assert table.find(_INO) is new
    table.release(_INO, 1)
    assert dropped == [old, new]
    assert len(table) == 1


def test_references_that_are_given_back_first_are_not_taken_over() -> None:
    root = DirectoryNode(1, None, b"", None, ())
    dropped: list[object] = []
    table = NodeTable(root, dropped.append)
    old, new = _node(root, stat.S_IFREG), _node(root, stat.S_IFIFO)
    table.hold(old)
    table.hold(old)

    table.evict(old)
    table.release(_INO, 1)
    table.release(_INO, 1)
    table.hold(new)
    table.release(_INO, 1)

    assert dropped == [old, new]
    assert len(table) == 1
