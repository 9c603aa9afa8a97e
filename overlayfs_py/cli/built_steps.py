"""What the store knows of earlier builds, for advice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.advice.build_facts import BuildFacts, BuiltStep
from overlayfs_py.cli.store_arguments import default_root

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.store.store import Store


def built_steps(root: Path | None) -> BuildFacts:
    """Return what is known of steps in a store; nothing if nobody has one yet.

    Raises:
        NoStore: `root` is none.
    """
    from overlayfs_py.store.failures import NoStore
    from overlayfs_py.store.store import Store

    try:
        store = Store.open(root or default_root(), create=False)
    except NoStore:
        if root is not None:
            raise
        return BuildFacts()
    found: dict[str, BuiltStep] = {}
    for used in store.builds.steps():  # the latest first
        record = used.record
        if record.instruction not in found:
            found[record.instruction] = BuiltStep(record.seconds, _size(store, record.layer))
    return BuildFacts(found)


def _size(store: Store, diff_id: str) -> int | None:
    from overlayfs_py.image.digest import Digest

    layer = store.find_layer(Digest(diff_id))
    return None if layer is None else layer.record.files_size
