"""What can be wrong with what is loaded, saved, imported or pushed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.errors import OverlayError

if TYPE_CHECKING:
    from collections.abc import Iterable


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


class CannotPush(OverlayError):
    """A blob that is nowhere any more."""

    exit_code = 44

    def __init__(self, what: str, sources: Iterable[str]) -> None:
        asked = ", ".join(sources) or "anywhere else"
        why = f"it is neither there nor in {asked}; --recompress pushes another one in its place"
        super().__init__(None, why, what)


class NoIndex(OverlayError):
    """An image that was not chosen from those for several platforms."""

    exit_code = 33

    def __init__(self, name: str) -> None:
        super().__init__(None, "only one platform of it is known", name)
