"""What can be wrong with references, platforms and the documents of an image."""

from __future__ import annotations

from overlayfs_py.errors import OverlayError


class BadReference(OverlayError):
    """A text that names no image on any host."""

    exit_code = 2

    def __init__(self, text: str, why: str) -> None:
        super().__init__(None, why, text)


class BadPlatform(OverlayError):
    """A text that is no platform."""

    exit_code = 2

    def __init__(self, text: str, why: str) -> None:
        super().__init__(None, why, text)


class NoSuchPlatform(OverlayError):
    """An index without an image for the platform that was asked for."""

    exit_code = 33

    def __init__(self, wanted: str, offered: str) -> None:
        super().__init__(None, f"no image for this platform; there is: {offered}", wanted)


class BadDocument(OverlayError):
    """A manifest, an index or a config that does not say what it must, or says what it cannot."""

    exit_code = 32

    def __init__(self, what: str, why: str) -> None:
        super().__init__(None, why, what)
