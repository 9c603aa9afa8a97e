"""What a store's room is used for, where builds have their part in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.store.build_records import StepRecord
from overlayfs_py.store.cache_mounts import Sharing
from overlayfs_py.store.store import Store
from overlayfs_py.transfer.made_layers import add_tar
from tests.support.oci_layout import digest, tar_of

if TYPE_CHECKING:
    from pathlib import Path


def test_the_cache_of_builds_is_what_nothing_else_needs(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    with store.add() as addition:
        layer = add_tar(addition, [tar_of({"file": bytes(range(256)) * 1000})])
        record = StepRecord(
            key=digest(b"key"),
            instruction="RUN true",
            place="",
            parts=(),
            layer=layer.diff_id,
            created_ns=1,
            seconds=1.0,
        )
        store.builds.put(record)
        # What a process is at now nobody counts as the cache's.
        assert store.usage().builds.count == 1
        assert store.usage().layers.count == 1

    usage = store.usage()
    assert usage.layers.count == 0
    builds = usage.builds
    assert builds.total_bytes > layer.record.stored_size
    assert builds.reclaimable_bytes == builds.total_bytes
    assert usage.total_bytes == sum(
        each.total_bytes for each in (usage.blobs, builds, usage.downloads, usage.leftovers)
    )

    with store.add() as addition:
        held = store.builds.mounts.hold(
            "mine", Sharing.LOCKED, lambda path: path.mkdir(), addition.directory
        )
        (held.data / "file").write_bytes(bytes(100_000))
        used = store.usage().builds
        held.close()
    assert (used.count, used.active) == (2, 1)
    assert used.total_bytes - used.reclaimable_bytes >= 100_000

    store.builds.prune(lambda _: True)
    assert store.usage().builds.count == 1
