"""No collection of garbage looks at more than a bounded number of objects."""

from __future__ import annotations

import gc

from overlayfs_py.drivers.garbage import collected_briefly

_MANY = 300_000
_BOUND = 50_000


def test_a_collection_is_short_however_much_is_kept() -> None:
    looked_at: list[int] = []

    def count(phase: str, collection: dict[str, int]) -> None:
        if phase == "start" and collection["generation"] == 2:
            looked_at.append(sum(len(gc.get_objects(generation)) for generation in range(3)))

    gc.collect()
    gc.freeze()
    gc.collect()  # a full one comes early or late by what the one before has found alive
    before = gc.get_threshold()
    gc.callbacks.append(count)
    try:
        with collected_briefly():
            kept = [[number] for number in range(_MANY)]
        assert len(kept) == _MANY
        assert len(looked_at) > _MANY // _BOUND
        assert max(looked_at) < _BOUND
    finally:
        gc.callbacks.remove(count)
        gc.unfreeze()
    assert gc.get_threshold() == before
