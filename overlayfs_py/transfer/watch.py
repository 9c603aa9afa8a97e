"""What a pull or push tells whoever watches it; the words are docker's."""

from __future__ import annotations

from enum import Enum
from typing import Protocol


class LayerState(Enum):
    """How far a layer is."""

    # Pulling.
    PULLING = "Pulling fs layer"
    WAITING = "Waiting"
    DOWNLOADING = "Downloading"
    VERIFYING = "Verifying Checksum"
    DOWNLOADED = "Download complete"
    EXTRACTING = "Extracting"
    PULLED = "Pull complete"
    EXISTS = "Already exists"
    INDEXED = "Index complete, data comes when it is read"
    # Pushing.
    PREPARING = "Preparing"
    PACKING = "Packing"
    PUSHING = "Pushing"
    PUSHED = "Pushed"
    AT_TARGET = "Layer already exists"
    MOUNTED = "Mounted from"

    @property
    def moves(self) -> bool:
        """Whether it has a measure of how far it is."""
        return self in _MOVING


_MOVING = {LayerState.DOWNLOADING, LayerState.EXTRACTING, LayerState.PUSHING}


class Watch(Protocol):
    """Told of everything that happens, in trio's thread."""

    def say(self, line: str) -> None:
        """Told of what concerns the whole."""

    def layer(self, ident: str, state: LayerState, detail: str = "") -> None:
        """Told that a layer, by the first digits of its digest, is in another state."""

    def progress(self, ident: str, state: LayerState, done: int, total: int) -> None:
        """Told how many bytes of a layer are done."""


class Unwatched:
    """Nobody watches."""

    def say(self, line: str) -> None:
        pass

    def layer(self, ident: str, state: LayerState, detail: str = "") -> None:
        pass

    def progress(self, ident: str, state: LayerState, done: int, total: int) -> None:
        pass
