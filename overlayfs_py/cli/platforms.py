"""What is said of an image that is for another platform than was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.cli.errors import say

if TYPE_CHECKING:
    from overlayfs_py.image.platform import Platform
    from overlayfs_py.store.images import StoredImage


def warn_of_platform(image: StoredImage, wanted: Platform) -> None:
    """Warn, as docker does: an image that is not one of several is taken all the same.

    Source: moby, daemon/images/image_pull.go (PullImage).
    """
    from overlayfs_py.image.platform import runs_on

    offered = image.config.platform
    if not runs_on(offered, wanted):
        name = image.references[0] if image.references else image.image_id
        say("overlayfs-py", f"{name}: an image for {offered}, not for {wanted}")
