"""Images for commands that need all of their data: what is still to come, comes first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from overlayfs_py.cli.watching import Shown
    from overlayfs_py.store.containers import ContainerRecord
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.layers import LayersInUse
    from overlayfs_py.store.store import Store


def use_whole_image(
    store: Store, text: str, shown: Shown | None = None
) -> tuple[StoredImage, LayersInUse]:
    """Keep an image as `Store.use_image` does, once all of it is here; progress goes to stderr.

    Raises:
        NotArrived: some of it does not come.
        NotInStore, Ambiguous: as `Store.use_image`.
    """
    image, layers = store.use_image(text)
    if not image.coming:
        return image, layers
    with layers:
        _complete(store, layers, shown)
    return store.use_image(text)


def have_whole_layers(store: Store, record: ContainerRecord) -> None:
    """Return once all of a container's image is here; raises as `use_whole_image`."""
    with store.containers.use_layers(record) as layers:
        if not all(layer.is_whole for layer in layers.layers):
            _complete(store, layers, None)


def _complete(store: Store, layers: LayersInUse, shown: Shown | None) -> None:
    from overlayfs_py.cli.watching import progress_on_stderr
    from overlayfs_py.transfer.completing import complete

    if shown is not None:
        complete(store, layers.layers, shown)
        return
    with progress_on_stderr() as own:
        complete(store, layers.layers, own)
