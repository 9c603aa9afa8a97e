"""What an image in a store shows."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from overlayfs_py.containers.image_files import ImageFiles

if TYPE_CHECKING:
    from overlayfs_py.store.store import Store


def contents(store: Store, name: str) -> dict[str, bytes]:
    """Every regular file of an image."""
    _, layers = store.use_image(name)
    with layers, ImageFiles(layers.layers) as files:
        return {
            os.fsdecode(b"/".join(file.path)): b"".join(files.content(file))
            for file in files.walk()
            if stat.S_ISREG(file.attributes.mode)
        }
