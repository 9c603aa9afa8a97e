"""What the calling program's environment says; nothing else of the API reads it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from overlayfs_py.store import places

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.registry.client import ClientOptions


def default_root() -> Path:
    """Where the user's store is."""
    return places.default_root(os.environ)


def client_options() -> ClientOptions:
    """What the machine's and the user's files say about registries."""
    from overlayfs_py.registry.machine import Machine

    return Machine(os.environ).client_options()
