"""Taking away what builds have left in the store, once nobody wants it any more."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import Struct

from overlayfs_py.containers import user_namespace
from overlayfs_py.errors import Failure
from overlayfs_py.image.digest import Digest
from overlayfs_py.mounts import children
from overlayfs_py.store import leases
from overlayfs_py.store.layers import size_on_disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from overlayfs_py.mounts.children import Report
    from overlayfs_py.store.build_records import UsedStep
    from overlayfs_py.store.store import Store


class Wanted(Struct, frozen=True):
    """What is to go."""

    all: bool = False  # layers that images have, too, and cache mounts
    unused_ns: int = 0  # only what was not used for so long
    kept_bytes: int = 0  # what may stay of layers, those that were used last


class Pruned(Struct, frozen=True):
    """What has gone."""

    steps: tuple[str, ...]  # the instructions
    mounts: tuple[str, ...]  # the IDs of cache mounts
    freed_bytes: int


def prune(store: Store, wanted: Wanted) -> Pruned:
    """Remove steps, cache mounts and what failed commands left; the calling process has one thread.

    Raises:
        Failure: a cache mount could not be removed.
    """
    before_ns = time.time_ns() - wanted.unused_ns
    of_images = {layer.diff_id for image in store.images() for layer in image.layers}
    kept: set[str] = set()
    room = wanted.kept_bytes
    for used in store.builds.steps():
        room -= used.layer_bytes
        if room >= 0:
            kept.add(used.record.key)
    gone: list[str] = []

    def fits(used: UsedStep) -> bool:
        layer = Digest(used.record.layer)
        if used.used_ns > before_ns or used.record.key in kept:
            return False
        if not wanted.all and layer in of_images:
            return False
        gone.append(used.record.instruction)
        return True

    freed = store.builds.prune(fits)
    mounts = list(_mounts(store, before_ns)) if wanted.all else []
    freed += _removed(store, [path for _, path in mounts], before_ns)
    return Pruned(tuple(gone), tuple(ident for ident, _ in mounts), freed)


def _mounts(store: Store, before_ns: int) -> Iterator[tuple[str, Path]]:
    for record, path in store.builds.mounts.all():
        if path.stat().st_mtime_ns <= before_ns:
            yield record.id, path


def _removed(store: Store, mounts: list[Path], before_ns: int) -> int:
    """Remove directories in which files of other users may lie; returns the bytes."""
    failed = store.builds.root / "failed"
    left = [*failed.iterdir()] if failed.is_dir() else []
    left = [path for path in left if path.stat().st_mtime_ns <= before_ns]
    if not mounts and not left:
        return 0

    def work(report: Report) -> None:
        # Of an ordinary user's namespace: only its root may remove them.
        if not user_namespace.may_mount():
            user_namespace.enter()
        freed = 0
        for path in mounts:
            size = size_on_disk(path)
            gone = store.builds.mounts.take_away(path)
            if gone is not None:
                leases.discard(gone)
                freed += size
        for path in left:
            freed += size_on_disk(path)
            leases.discard(path)
        report.ready(b"%d" % freed)

    child = children.start(work)
    freed = int(child.ready())
    if child.wait():
        raise Failure("the cache mounts could not be removed")
    return freed
