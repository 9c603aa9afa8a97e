"""Differences that the state machine found, each as the script that it shrank to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.oracle import parties
from tests.oracle.differential import Step
from tests.oracle.layers import DEFAULT, LONG_NAME, Item, Kind, Layer, Marks
from tests.oracle.shrinking import play
from tests.support.uppers import TRUSTED

if TYPE_CHECKING:
    from tests.oracle.warm import WarmDaemons


def _do(*call: object, uid: int = 0) -> Step:
    return Step("do", call, uid)


_COMPARE, _REMOUNT, _FINISH = (Step(method) for method in ("compare", "remount", "finish"))
_FILE = Layer((Item((b"a",), Kind.FILE),))
_TWO_NAMES = Layer((Item((b"d", b"a"), Kind.FILE), Item((b"b",), Kind.LINK)))
_IN_DIRECTORY = Layer((Item((b"d", b"a"), Kind.FILE),))
_ACROSS = Layer(
    (Item((b"b", b"a"), Kind.FILE, content=b"data"), Item((b"a", b"c", b"a"), Kind.LINK))
)
_LONE_WHITEOUT = Layer((Item((b"d", b"a"), Kind.WHITEOUT),), Marks.AUFS)

SCRIPTS: dict[str, tuple[list[Layer], list[Step]]] = {
    "an ACL that is not there can be removed": (
        [_FILE],
        [_do("removexattr", b".", DEFAULT), _do("setxattr", b".", DEFAULT, b"", 1), _FINISH],
    ),
    "nobody makes a whiteout": ([_FILE], [_do("mknod", b"x", 0o020644, 0, 0), _FINISH]),
    "hard links stay one file when a directory of theirs was renamed": (
        [_TWO_NAMES],
        [
            _do("rename", b"d", b"c", 0),
            _do("write", b"b", 0, b"new"),
            _COMPARE,
            _REMOUNT,
            _FINISH,
        ],
    ),
    "hard links stay one file when a directory of theirs was renamed before the mount": (
        [_ACROSS],
        [
            _do("rename", b"a/c", b"a/b", 0),
            _REMOUNT,
            _do("write", b"b/a", 0, b"new"),
            _COMPARE,
            _do("rename", b"b/a", b"a/d", 0),
            _COMPARE,
            _REMOUNT,
            _COMPARE,
            _FINISH,
        ],
    ),
    "a file known by two names is renamed by the first": (
        [_ACROSS],
        [
            _do("rename", b"a/c", b"a/b", 0),
            _REMOUNT,
            _do("lstat", b"b/a"),
            _do("lstat", b"a/b/a"),
            _do("rename", b"b/a", b"a/d", 0),
            _COMPARE,
            _FINISH,
        ],
    ),
    "a copied-up file whose last name is gone has none": (
        [
            Layer((Item((b"d", b"a"), Kind.DIRECTORY),)),
            Layer((Item((b"b",), Kind.FILE), Item((b"d",), Kind.LINK))),
        ],
        [
            _do("hold", 0, b"b", 2, 0),
            _do("write", b"b", 0, b"new"),
            _do("unlink", b"b"),
            _do("fd_link", 0, b"c"),
            _COMPARE,
            _FINISH,
        ],
    ),
    "a lone whiteout hides nothing and is not seen": (
        [_LONE_WHITEOUT],
        [_do("listdir", b"d"), _do("rename", b"d", b"c", 0), _do("rmdir", b"c"), _FINISH],
    ),
    "a removed directory has nothing in it and can be used": (
        [_IN_DIRECTORY],
        [
            _do("hold", 0, b"d", 0, 0),
            _do("rmtree", b"d"),
            _do("fd_listdir", 0),
            _do("fd_create", 0, b"x"),
            _do("fd_chmod", 0, 0o700),
            _FINISH,
        ],
    ),
    "a chown to nobody takes the set-id bits of a FIFO": (
        [Layer((Item((b"a",), Kind.FIFO, mode=0o4755, owner=1001),))],
        [_do("lchown", b"a", -1, -1), _COMPARE, _FINISH],
    ),
    "a directory renamed in a long path": (
        [Layer((Item((b"c", b"a", b"x"), Kind.FILE),))],
        [
            _do("rename", b"c", LONG_NAME, 0),
            Step("commit"),
            _do("mkdir", b"d", 0o755, 0),
            _do("rename", LONG_NAME + b"/a", b"d/b", 0),
            _COMPARE,
            _REMOUNT,
            _COMPARE,
            _FINISH,
        ],
    ),
    "a rename with a flag that users cannot have copies nothing up": (
        [Layer((Item((b"d", b"a"), Kind.FILE, content=b"data"),))],
        [_do("rename", b"d/a", b"c", 4), _FINISH],
    ),
    "a copied-up file and its directories keep their times": (
        [_IN_DIRECTORY],
        [
            _do("utimens", b"d", (10**18, 10**18)),
            _do("chmod", b"d/a", 0o600),
            _COMPARE,
            _REMOUNT,
            _FINISH,
        ],
    ),
}


@pytest.mark.parametrize("driver", ["direct", "pyfuse3"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_both_do_the_same(daemons: WarmDaemons, driver: str, name: str) -> None:
    stack, steps = SCRIPTS[name]

    found = play(stack, steps, parties.kernel(), parties.our_driver(daemons, driver), TRUSTED)

    assert found is None, str(found)
