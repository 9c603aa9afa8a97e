"""An ordinary user's union: what modes forbid is done without changing a mode on the way."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.support.trees import Dir, File, build

if TYPE_CHECKING:
    from pathlib import Path

_USER = 65534
# Prints every mode that was set, then what the union shows.
_WORK = """
import os, stat, sys
os.chdir(sys.argv[1])
modes = []
sys.addaudithook(lambda event, args: modes.append(oct(args[1])) if event == "os.chmod" else None)
from overlayfs_py.union.core import Union
from overlayfs_py.union.values import Creator, StackSpec

with Union(StackSpec((b"lower",), upper=b"upper", work=b"work")) as union:
    root, me = union.root, Creator(65534, 65534)
    hidden = union.lookup(root, b"hidden")
    print(union.read(hidden, 0, 9), union.get_xattr(hidden, b"user.a"))
    modes.clear()
    union.rename(root, b"closed", root, b"moved", 0)
    moved = union.lookup(root, b"moved")
    union.rename(root, b"moved", union.lookup(root, b"open"), b"in", 0)
    union.write(hidden, 0, b"DATA")
    print(union.read(hidden, 0, 9), union.names(moved))
    print(modes)
    try:
        union.read(union.lookup(root, b"foreign"), 0, 9)
    except PermissionError as error:
        print(error.strerror)
"""


def test_no_mode_is_changed_on_the_way(tmp_path: Path) -> None:
    """A kill at any point then leaves every mode as it was; a layer is never changed."""
    owned = {"uid": _USER, "gid": _USER}
    build(
        tmp_path / "stack",
        {
            "": Dir(**owned),
            "lower": Dir(**owned),
            "lower/hidden": File(b"data", mode=0o000, xattrs={b"user.a": b"1"}, **owned),
            "lower/closed": Dir(mode=0o555, **owned),
            "lower/closed/f": File(**owned),
            "lower/open": Dir(**owned),
            "lower/foreign": File(b"root's", mode=0o600),
            "upper": Dir(**owned),
            "work": Dir(**owned),
        },
    )
    for directory in (tmp_path, *tmp_path.parents):
        if not directory.stat().st_mode & 0o001:
            directory.chmod(0o755)
    before = os.stat(tmp_path / "stack/lower/hidden")

    done = subprocess.run(
        [sys.executable, "-c", _WORK, tmp_path / "stack"],
        capture_output=True,
        text=True,
        check=False,
        user=_USER,
        group=_USER,
        extra_groups=[],
    )

    assert done.stdout.splitlines() == [
        "b'data' b'1'",
        "b'DATA' [b'f']",
        "['0o0']",  # the file's copy, before it is in place
        "Permission denied",
    ], done.stderr
    assert os.stat(tmp_path / "stack/lower/hidden") == before
