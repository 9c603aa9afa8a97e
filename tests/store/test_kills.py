"""Whatever system call of a change is the process's last, the store is sound, and does it again."""

from __future__ import annotations

import os
import random
import shutil
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.store.store import Store
from overlayfs_py.syscalls import mounts
from tests.store.changes import CHANGES, prepare
from tests.store.killing import killed_after, killed_at
from tests.store.states import files, names, require_sound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_RANDOM_KILLS = 5


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A filesystem that waits for no disk: every change here is followed by an fsync."""
    mounts.mount(b"tmpfs", os.fsencode(tmp_path), b"tmpfs", 0, b"size=64m")
    yield tmp_path
    mounts.umount(os.fsencode(tmp_path), mounts.MNT_DETACH)


@pytest.fixture
def prepared(place: Path) -> Path:
    prepare(Store.open(place / "prepared"))
    return place / "prepared"


def _copy(prepared: Path, root: Path) -> Store:
    if root.exists():
        shutil.rmtree(root)
    shutil.copytree(prepared, root)
    return Store.open(root)


@pytest.mark.parametrize("change", CHANGES)
def test_a_kill_leaves_a_sound_store(prepared: Path, root: Path, change: str) -> None:
    store = _copy(prepared, root)
    before = names(store)
    CHANGES[change](store)
    store.collect()
    after, left = names(store), files(store)

    calls, killed = 1, True
    while killed:
        store = _copy(prepared, root)
        killed = killed_after(calls, root, CHANGES[change])
        assert [str(problem) for problem in store.check()] == [], calls
        shown = names(store)
        assert all(shown.get(name) in (before.get(name), after.get(name)) for name in shown), calls
        CHANGES[change](store)
        require_sound(store)
        assert (names(store), files(store)) == (after, left), calls
        calls += 1
    assert calls > 3


def test_a_kill_while_a_store_is_made_leaves_none_or_one(place: Path) -> None:
    calls, killed = 1, True
    while killed:
        root = place / str(calls)
        killed = killed_after(calls, root, lambda _: None)
        require_sound(Store.open(root))
        calls += 1
    assert calls > 10


@pytest.mark.parametrize("change", CHANGES)
def test_a_kill_at_any_moment_leaves_a_sound_store(prepared: Path, root: Path, change: str) -> None:
    dice = random.Random(change)
    for _ in range(_RANDOM_KILLS):
        store = _copy(prepared, root)
        killed_at(dice.random() * 0.02, root, CHANGES[change])
        assert [str(problem) for problem in store.check()] == []
        CHANGES[change](store)
        require_sound(store)
