"""Many processes add and remove images that share layers; the store is sound at every end."""

from __future__ import annotations

import os
import random
import time
import traceback
from typing import TYPE_CHECKING

from overlayfs_py.store.failures import InUse, NotInStore
from overlayfs_py.store.store import Store
from tests.store.samples import add_image
from tests.store.states import files, require_sound

if TYPE_CHECKING:
    from pathlib import Path

_PROCESSES = 8
_SECONDS = 4.0
_LAYERS = ("base", "libraries", "app", "data")


def _work(root: Path, seed: int, until: float) -> int:
    """Add, use, tag, remove, prune at random; returns how much was done."""
    dice, store, done = random.Random(seed), Store.open(root), 0
    while time.monotonic() < until:
        done += 1
        count = dice.randrange(1, len(_LAYERS) + 1)
        name = f"image:{count}"
        match dice.randrange(10):
            case 0:
                store.prune(tagged=dice.random() < 0.3)
            case 1 | 2 | 3:
                _remove(store, name, force=dice.random() < 0.3)
            case 4 | 5:
                _use(store, name)
            case _:
                added = add_image(store, _LAYERS[:count], name)
                assert len(added.layers) == count
    return done


def _remove(store: Store, name: str, *, force: bool) -> None:
    try:
        store.remove_image(name, force=force)
    except (NotInStore, InUse):
        return


def _use(store: Store, name: str) -> None:
    """What is in use can be read to its end, whatever the others do."""
    try:
        image, used = store.use_image(name)
    except NotInStore:
        return
    with used:
        for _ in range(3):
            for layer in used.layers:
                assert os.stat(layer.path).st_size > 0
        assert store.find_layer(image.config.diff_ids[0]) is not None


def test_a_crowd_leaves_a_sound_store(root: Path) -> None:
    Store.open(root)
    until = time.monotonic() + _SECONDS
    pids = []
    for seed in range(_PROCESSES):
        pid = os.fork()
        if pid == 0:
            try:
                os._exit(0 if _work(root, seed, until) > 5 else 4)
            except BaseException:  # a child must never become a second pytest
                traceback.print_exc()
                os._exit(3)
        pids.append(pid)

    ends = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]

    assert ends == [0] * _PROCESSES
    store = Store.open(root)
    require_sound(store)
    store.prune(tagged=True)
    assert files(store) == []
