"""What programs use: run a container, open a store, pull an image, look at it, mount it.

    from overlayfs_py.api import Store, mounted, pull, run

    with run("debian:12", ["sleep", "infinity"]) as container:
        print(container.exec(["cat", "/etc/os-release"]).stdout)

    store = Store.open("store")
    pull(store, "debian:12")
    with mounted(store, "debian:12") as root:
        print((root / "etc/os-release").read_text())

What is exported here stays; everything else may change. Errors are OSErrors; those of ours are
OverlayErrors, whose text is one line for a person. Nothing here forks the calling process.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from overlayfs_py.api.container import Container, Ended, Result, WaitTimeout
    from overlayfs_py.api.files import ContainerPath
    from overlayfs_py.api.images import inspect
    from overlayfs_py.api.mounting import MountedImage, mounted
    from overlayfs_py.api.pulling import pull
    from overlayfs_py.api.running import run
    from overlayfs_py.containers.state import NotRunning
    from overlayfs_py.errors import Failure, OverlayError
    from overlayfs_py.image.digest import Digest
    from overlayfs_py.image.reference import Reference, parse_reference
    from overlayfs_py.registry.client import ClientOptions
    from overlayfs_py.registry.machine import Machine
    from overlayfs_py.store.checking import Problem
    from overlayfs_py.store.failures import (
        Ambiguous,
        Busy,
        CorruptStore,
        InUse,
        NoStore,
        NotInStore,
    )
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.store import Removal, Store
    from overlayfs_py.store.usage import Usage
    from overlayfs_py.transfer.watch import LayerState, Watch

# Where each is from. A program that asks for one does not load the others: a registry's client
# takes 0.1 s.
_MODULES = {
    "Container": "api.container",
    "Ended": "api.container",
    "Result": "api.container",
    "WaitTimeout": "api.container",
    "ContainerPath": "api.files",
    "inspect": "api.images",
    "MountedImage": "api.mounting",
    "mounted": "api.mounting",
    "pull": "api.pulling",
    "run": "api.running",
    "NotRunning": "containers.life",
    "Failure": "errors",
    "OverlayError": "errors",
    "Digest": "image.digest",
    "Reference": "image.reference",
    "parse_reference": "image.reference",
    "ClientOptions": "registry.client",
    "Machine": "registry.machine",
    "Problem": "store.checking",
    "Ambiguous": "store.failures",
    "Busy": "store.failures",
    "CorruptStore": "store.failures",
    "InUse": "store.failures",
    "NoStore": "store.failures",
    "NotInStore": "store.failures",
    "StoredImage": "store.images",
    "Removal": "store.store",
    "Store": "store.store",
    "Usage": "store.usage",
    "LayerState": "transfer.watch",
    "Watch": "transfer.watch",
}

__all__ = [
    "Ambiguous",
    "Busy",
    "ClientOptions",
    "Container",
    "ContainerPath",
    "CorruptStore",
    "Digest",
    "Ended",
    "Failure",
    "InUse",
    "LayerState",
    "Machine",
    "MountedImage",
    "NoStore",
    "NotInStore",
    "NotRunning",
    "OverlayError",
    "Problem",
    "Reference",
    "Removal",
    "Result",
    "Store",
    "StoredImage",
    "Usage",
    "WaitTimeout",
    "Watch",
    "inspect",
    "mounted",
    "parse_reference",
    "pull",
    "run",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"overlayfs_py.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
