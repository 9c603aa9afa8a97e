"""What differs between two packs."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from overlayfs_py.packs.difference import differences
from overlayfs_py.packs.pack import Pack
from tests.packs.test_to_directory import pack_of
from tests.support.trees import Dir, File, Symlink, Whiteout, build

if TYPE_CHECKING:
    from pathlib import Path

_T = 10**18
_HUGE = 1 << 40
BEFORE = {
    "same": File(b"x", mtime_ns=_T),
    "gone": File(b"x", mtime_ns=_T),
    "mode": File(b"x", mtime_ns=_T),
    "owner": File(b"x", mtime_ns=_T),
    "content": File(b"x", mtime_ns=_T),
    "size": File(b"x", mtime_ns=_T),
    "type": File(b"x", mtime_ns=_T),
    "link": Symlink(target="a", mtime_ns=_T),
    "xattr": File(b"x", mtime_ns=_T),
    "opaque": Dir(mtime_ns=_T),
    "back": Whiteout(),
    "time": File(mtime_ns=_T),
    "": Dir(mtime_ns=_T),
}
AFTER = {
    "same": File(b"x", mtime_ns=_T),
    "mode": File(b"x", mtime_ns=_T, mode=0o600),
    "owner": File(b"x", mtime_ns=_T, uid=1, gid=2),
    "content": File(b"y", mtime_ns=_T),
    "size": File(b"xy", mtime_ns=_T),
    "type": Symlink(target="x", mtime_ns=_T),
    "link": Symlink(target="b", mtime_ns=_T),
    "xattr": File(b"x", mtime_ns=_T, xattrs={"user.a": b"1"}),
    "opaque": Dir(mtime_ns=_T, xattrs={"trusted.overlay.opaque": b"y"}),
    "new": Dir(mtime_ns=_T),
    "new/f": File(mtime_ns=_T),
    "time": File(mtime_ns=_T + 1),
    "": Dir(mtime_ns=_T),
}


def _told(one: Path, two: Path) -> list[str]:
    with Pack(os.fsencode(one)) as old, Pack(os.fsencode(two)) as new:
        return [
            " ".join(
                [item.kind.value, os.fsdecode(b"/".join(item.path)), *item.parts],
            )
            for item in differences(old, new)
        ]


def test_every_kind_of_difference(tmp_path: Path) -> None:
    for name, table in (("before", BEFORE), ("after", AFTER)):
        build(tmp_path / name, {path: item for path, item in table.items() if path})
        os.utime(tmp_path / name, ns=(_T, _T))
        pack_of(tmp_path / name, tmp_path / f"{name}.pack")

    assert _told(tmp_path / "before.pack", tmp_path / "before.pack") == []
    assert _told(tmp_path / "before.pack", tmp_path / "after.pack") == [
        "D back",
        "C content content",
        "D gone",
        "C link target",
        "C mode mode",
        "A new",
        "A new/f",
        "C opaque opaque",
        "C owner uid gid",
        "C size size",
        "C time mtime_ns",
        "C type type",
        "C xattr xattrs",
    ]


def test_holes_take_no_time(tmp_path: Path) -> None:
    """As /var/log/lastlog of a large user id; what is data in one alone is compared with zeros."""
    for name, pieces in (
        ("before", {"same": b"x", "moved": b"x", "zeros": b"\0", "ends": b"a"}),
        ("after", {"same": b"x", "moved": b"x", "zeros": b"", "ends": b"b"}),
    ):
        (tmp_path / name).mkdir()
        for file, data in pieces.items():
            with (tmp_path / name / file).open("wb") as opened:
                opened.write(data)
                opened.seek(_HUGE // 2 + (file == "moved" and name == "after"))
                opened.write(data)
                opened.truncate(_HUGE)
            os.utime(tmp_path / name / file, ns=(_T, _T))
        os.utime(tmp_path / name, ns=(_T, _T))
    packs = [pack_of(tmp_path / name, tmp_path / f"{name}.pack") for name in ("before", "after")]

    begun = time.monotonic()
    told = _told(*packs)

    assert told == ["C ends content", "C moved content"]
    assert time.monotonic() - begun < 5
