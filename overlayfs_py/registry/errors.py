"""What can go wrong with a registry, by what the user can do about it; the text is one line."""

from __future__ import annotations

from overlayfs_py.errors import OverlayError
from overlayfs_py.terminal_text import shortened


class RegistryError(OverlayError):
    """A registry did not do what was asked; `what` names the reference, blob or host."""

    exit_code = 43

    def __init__(self, what: str, why: str) -> None:
        super().__init__(None, _on_one_line(why), _on_one_line(what))


class NotThere(RegistryError):
    """The registry has no such repository, manifest or blob."""

    exit_code = 31


class Denied(RegistryError):
    """The registry wants other credentials, or denies this to everyone."""

    exit_code = 41


class Unavailable(RegistryError):
    """The registry cannot be reached, or cannot answer now. Later it may."""

    exit_code = 42


class BadAnswer(RegistryError):
    """The registry answered what no registry may answer."""


class Refused(RegistryError):
    """The registry did not take what was sent, or we refuse to send it."""


_LONGEST_CHARACTERS = 400


def _on_one_line(text: str) -> str:
    return shortened(text.strip(), _LONGEST_CHARACTERS)
