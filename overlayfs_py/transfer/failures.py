"""What can be wrong with what is loaded, saved or imported."""

from __future__ import annotations

from overlayfs_py.errors import OverlayError


class BadArchive(OverlayError):
    """An archive that holds no image, or one that is not whole."""

    exit_code = 38

    def __init__(self, archive: str, why: str) -> None:
        super().__init__(None, why, archive)


class BadChange(OverlayError):
    """An instruction for an image's config that is none."""

    exit_code = 2

    def __init__(self, text: str, why: str) -> None:
        super().__init__(None, why, text)


class CannotSave(OverlayError):
    """An image or a layer that cannot be written in the form that was asked for."""

    exit_code = 39

    def __init__(self, name: str, why: str) -> None:
        super().__init__(None, why, name)
