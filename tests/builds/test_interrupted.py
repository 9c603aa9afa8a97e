"""A step that is killed, or finds no room, leaves nothing half in the store."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.store.store import Store
from overlayfs_py.syscalls import mounts
from tests.builds.building import Build
from tests.store.killing import killed_after
from tests.store.states import require_sound
from tests.support.trees import File, build

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_STEP = "COPY . /app/"
_EPOCH_NS = 10**18


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    mounts.mount(b"tmpfs", os.fsencode(place), b"tmpfs", 0, b"size=1m")
    yield place
    mounts.umount(os.fsencode(place), mounts.MNT_DETACH)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    noise = os.urandom(700_000)
    build(tmp_path / "context", {"a": File(noise), "d/b": File(noise[::-1]), "c": File(b"c")})
    return tmp_path / "context"


def _copy(store: Store, context: Path) -> str:
    with store.add() as addition:
        return Build(store, addition, context, latest_ns=_EPOCH_NS).run(_STEP).diff_id


def test_no_room_for_a_layer(small: Path, context: Path) -> None:
    store = Store.open(small / "store")

    with pytest.raises(OSError, match="No space left on device") as raised:
        _copy(store, context)

    assert raised.value.errno == errno.ENOSPC
    require_sound(store)
    assert list((small / "store" / "layers").iterdir()) == []
    (context / "d/b").write_bytes(b"less")
    assert _copy(store, context)


def test_killed_at_any_call(small: Path, context: Path) -> None:
    (context / "d/b").write_bytes(b"less")
    (context / "a").write_bytes(b"less, too")
    expected = _copy(Store.open(small / "right"), context)
    root = small / "store"
    Store.open(root)
    calls = 0
    while killed_after(calls := calls + 1, root, lambda store: _copy(store, context)):
        store = Store.open(root)
        assert [str(problem) for problem in store.check()] == []
        store.collect()
        require_sound(store)

    assert calls > 5
    assert _copy(Store.open(root), context) == expected
