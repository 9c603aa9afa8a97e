"""Proof that layers were not written: their whole state before and after, atime included."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.support.snapshot import differences, layer_state, walk
from tests.system.processes import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

A_DAY_NS = 24 * 3600 * 10**9

State = dict[bytes, tuple[object, ...]]


@contextmanager
def untouched(layers: tuple[Path, ...]) -> Iterator[None]:
    """Fail when anything in `layers` is another after the block: data, owner, time, xattr."""
    for layer in layers:
        _age(layer)
    before = [_state(layer) for layer in layers]
    yield
    for layer, state in zip(layers, before, strict=True):
        changed = differences(state, _state(layer))
        assert not changed, f"{layer} changed:\n" + "\n".join(map(str, changed[:20]))


def _age(layer: Path) -> None:
    """Make every atime older than its mtime: relatime would otherwise hide all but one read."""
    for _, at, status in walk(layer, noatime=os.O_NOATIME):
        times = (status.st_mtime_ns - A_DAY_NS, status.st_mtime_ns)
        os.utime(at, ns=times, follow_symlinks=False)


def _state(layer: Path) -> State:
    # There is no O_NOATIME for readlink(2), so the reading goes through a view of its own.
    view = layer.with_name(layer.name + ".view")
    view.mkdir()
    run(["mount", "--bind", layer, view])
    try:
        run(["mount", "-o", "remount,bind,noatime,ro", view])
        return layer_state(view)
    finally:
        run(["umount", view])
        view.rmdir()
