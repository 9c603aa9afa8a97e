"""What programs use: open a store, look at its images, mount one.

    from pathlib import Path
    from overlayfs_py.api import Store, inspect, mounted

    store = Store.open(Path("store"))
    print(inspect(store, "debian:12").config.run.cmd)
    with mounted(store, "debian:12") as root:
        print((root / "etc/os-release").read_text())

What is exported here stays; everything else may change. Errors are OSErrors; those of ours are
OverlayErrors, whose text is one line for a person.
"""

from __future__ import annotations

from overlayfs_py.api.images import inspect
from overlayfs_py.api.mounting import mounted
from overlayfs_py.errors import OverlayError
from overlayfs_py.store.images import StoredImage
from overlayfs_py.store.store import Store

__all__ = ["OverlayError", "Store", "StoredImage", "inspect", "mounted"]
