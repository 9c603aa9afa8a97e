"""What a store may look like whatever happened to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from overlayfs_py.store.store import Store


def require_sound(store: Store) -> None:
    """Nothing is wrong, and what nobody needs can be collected."""
    assert [str(problem) for problem in store.check()] == []
    store.collect()
    assert [str(problem) for problem in store.check()] == []
    usage = store.usage()
    assert usage.leftovers.count == usage.downloads.count == 0
    assert usage.layers.reclaimable_bytes == usage.blobs.reclaimable_bytes == 0
    needed = {layer.diff_id for image in store.images() for layer in image.layers}
    assert usage.layers.count == len(needed)


def files(store: Store) -> list[str]:
    """Every file that has to do with images."""
    return sorted(
        str(path.relative_to(store.root))
        for path in store.root.rglob("*")
        if path.is_file() and path.parent.name != "locks" and path.name != "store.json"
    )


def names(store: Store) -> dict[str, str]:
    """What the store shows to a person."""
    return {name: image.image_id for image in store.images() for name in image.references}
