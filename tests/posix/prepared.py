"""The tree that every check finds in its directory, and its three placements.

A user sees the same tree whatever the placement; only where its parts are stored differs:
made in the upper, in one lower layer, or spread over two that hide and replace parts of each other.
"""

from __future__ import annotations

import stat
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING

from tests.posix.acls import ACCESS, DEFAULT, GROUP, GROUP_OBJ, MASK, OTHER, USER, USER_OBJ, acl
from tests.posix.processes import ALICE, BOB
from tests.support.trees import (
    Device,
    Dir,
    Fifo,
    File,
    HardLink,
    Opaque,
    Socket,
    Symlink,
    Whiteout,
    build,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.support.trees import Node

MTIME_NS = 1_000_000_000_123_456_789
TEXT = b"prepared\n"
BIG = b"".join(b"%07d\n" % number for number in range(32768))  # 256 KiB, each line another
COUNT = 12  # files in `full`
SCRIPT = b"#!/bin/sh\necho ran\n"

_FILE_ACL = acl((USER_OBJ, 6), (USER, 6, ALICE), (GROUP_OBJ, 4), (MASK, 6), (OTHER, 0))
_DIR_ACL = acl(
    (USER_OBJ, 7), (USER, 7, ALICE), (GROUP_OBJ, 5), (GROUP, 5, BOB), (MASK, 7), (OTHER, 0)
)

VISIBLE: dict[str, Node] = {
    "": Dir(),
    "file": File(TEXT),
    "big": File(BIG),
    "first": File(b"linked\n"),
    "second": HardLink("first"),
    "setid": File(TEXT, mode=0o6755),
    "attrs": File(TEXT, mode=0o640, xattrs={"user.colour": b"blue", "trusted.secret": b"\0s\xff"}),
    "acl": File(TEXT, mode=0o660, xattrs={ACCESS: _FILE_ACL}),
    "owned": File(TEXT, mode=0o600, uid=ALICE, gid=ALICE),
    "script": File(SCRIPT, mode=0o755),
    "kind": File(b"was a directory\n"),
    "link": Symlink("file"),
    "dirlink": Symlink("dir"),
    "dangling": Symlink("nowhere"),
    "loop": Symlink("loop"),
    "fifo": Fifo(mode=0o666),
    "socket": Socket(),
    "null": Device(stat.S_IFCHR, 1, 3, mode=0o666),
    "block": Device(stat.S_IFBLK, 7, 200),
    "dir": Dir(),
    "dir/a": File(b"a"),
    "dir/b": File(b"b"),
    "dir/sub": Dir(),
    "dir/sub/deep": File(b"deep"),
    "empty": Dir(),
    "opaque": Dir(),
    "opaque/new": File(b"new"),
    "full": Dir(),
    **{f"full/{number:02}": File(b"%d" % number) for number in range(COUNT)},
    "sticky": Dir(mode=0o1777),
    "sticky/bobs": File(TEXT, mode=0o666, uid=BOB, gid=BOB),
    "setgid": Dir(mode=0o2777, gid=BOB),
    "inherit": Dir(mode=0o770, xattrs={DEFAULT: _DIR_ACL}),
    "private": Dir(mode=0o700, uid=ALICE, gid=ALICE),
    "private/inside": File(TEXT, uid=ALICE, gid=ALICE),
    "attrdir": Dir(xattrs={"user.colour": b"green"}),
    "attrdir/member": File(TEXT),
}

# Of the files, what the top one of two layers holds. A hard link stays with its file.
_TOP = {
    "big", "setid", "attrs", "owned", "kind", "link", "fifo", "null", "dir/a", "opaque/new",
    "sticky/bobs",
    *(f"full/{number:02}" for number in range(0, COUNT, 3)),
}  # fmt: skip

# Seen nowhere: replaced, whited out or behind an opaque directory.
_HIDDEN_BELOW: dict[str, Node] = {
    "gone": File(b"gone\n"),
    "gonedir/child": File(b"gone\n"),
    "dir/gone": File(b"gone\n"),
    "dir/sub/gone": File(b"gone\n"),
    "empty/one": File(b"gone\n"),
    "empty/two/three": File(b"gone\n"),
    "kind/child": File(b"gone\n"),
    "opaque/old": File(b"gone\n"),
    "attrs": File(b"an older file\n", mode=0o777, xattrs={"user.older": b"1"}),
    "big": Symlink("an older link"),
    **{f"full/gone{number}": File() for number in range(5)},
}
_HIDING: dict[str, Node] = {
    "gone": Whiteout(),
    "gonedir": Whiteout(),
    "dir/gone": Whiteout(),
    "dir/sub/gone": Whiteout(),
    "empty/one": Whiteout(),
    "empty/two": Whiteout(),
    **{f"full/gone{number}": Whiteout() for number in range(5)},
}


class Placement(Enum):
    """Where the prepared tree of a check is stored. The value is the name of its directory."""

    UPPER = "upper"
    LOWER = "lower"
    MERGED = "merged"


def build_visible(root: Path, extra: Mapping[str, Node]) -> None:
    """Make the tree as it is seen, all in one place."""
    build(root, _dated(VISIBLE | extra))


def build_merged(top: Path, bottom: Path, extra: Mapping[str, Node]) -> None:
    """Make the tree so that `top` over `bottom` shows it; directories are in both."""
    build(top, _dated(_HIDING | _top_half()))
    build(bottom, _dated(_HIDDEN_BELOW | _bottom_half() | extra))


def _top_half() -> dict[str, Node]:
    chosen = {name: node for name, node in VISIBLE.items() if name in _TOP or isinstance(node, Dir)}
    return chosen | {"opaque": Opaque(Dir())}


def _bottom_half() -> dict[str, Node]:
    # What a lower layer says about a directory that a higher one has too must not be seen.
    return {
        name: replace(node, mode=0o1700, uid=BOB, xattrs={"user.below": b"1"})
        if isinstance(node, Dir)
        else node
        for name, node in VISIBLE.items()
        if name not in _TOP
    }


def _dated(tree: Mapping[str, Node]) -> dict[str, Node]:
    return {name: _with_time(node) for name, node in tree.items()}


def _with_time(node: Node) -> Node:
    match node:
        case HardLink() | Whiteout():
            return node
        case Opaque(directory):
            return Opaque(replace(directory, mtime_ns=MTIME_NS))
        case _:
            return replace(node, mtime_ns=MTIME_NS)
