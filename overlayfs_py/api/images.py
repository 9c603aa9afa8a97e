"""Looking at images."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.store import Store


def inspect(store: Store, name: str) -> StoredImage:
    """Return the image that a name, an ID, the beginning of one, or a digest means.

    Raises:
        OverlayError: there is none, or several IDs begin so.
    """
    return store.image(name)
