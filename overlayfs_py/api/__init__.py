"""What programs use: open a store, pull an image, look at it, mount it.

    import os
    from pathlib import Path
    from overlayfs_py.api import Machine, Store, inspect, mounted, pull

    store = Store.open(Path("store"))
    pull(store, "debian:12", Machine(os.environ).client_options())
    print(inspect(store, "debian:12").config.run.cmd)
    with mounted(store, "debian:12") as root:
        print((root / "etc/os-release").read_text())

What is exported here stays; everything else may change. Errors are OSErrors; those of ours are
OverlayErrors, whose text is one line for a person.
"""

from __future__ import annotations

from overlayfs_py.api.images import inspect
from overlayfs_py.api.mounting import mounted
from overlayfs_py.api.pulling import pull
from overlayfs_py.errors import OverlayError
from overlayfs_py.registry.client import ClientOptions
from overlayfs_py.registry.machine import Machine
from overlayfs_py.store.images import StoredImage
from overlayfs_py.store.store import Store
from overlayfs_py.transfer.watch import Watch

__all__ = [
    "ClientOptions",
    "Machine",
    "OverlayError",
    "Store",
    "StoredImage",
    "Watch",
    "inspect",
    "mounted",
    "pull",
]
