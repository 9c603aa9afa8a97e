"""A request loads no module: where the mount covers our own, that would wait for itself."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.union.values import IdMap, IdRange
from tests.support.trees import Dir, File

if TYPE_CHECKING:
    from tests.union.conftest import MakeWorld

_SHOWN = 1000
_STORED = 101_000


@pytest.mark.parametrize("path", ["d/f", "made"])
def test_a_copy_up_with_an_id_map(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    ids = (IdRange(100_000, 0, 65_536),)
    tree = {"d": Dir(uid=_STORED, gid=_STORED), "d/f": File(b"", uid=_STORED, gid=_STORED)}
    world = make_world(tree, ids=IdMap(ids, ids))
    monkeypatch.setitem(sys.modules, "overlayfs_py.packs.layer", None)  # loading it fails

    if path == "made":
        world.put("d/made")
    else:
        world.change(path, mode=0o600)

    assert world.owner("d") == (_SHOWN, _SHOWN)
    assert os.stat(world.upper / "d").st_uid == _STORED


def test_the_flags_of_a_file(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world({"f": File(b"f")})
    monkeypatch.setitem(sys.modules, "overlayfs_py.packs.layer", None)  # loading it fails

    assert isinstance(world.union.get_flags(world.at("f")), int)
