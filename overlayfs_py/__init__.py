"""A FUSE overlay filesystem for container layers, and the layer system around it.

    import overlayfs_py

    with overlayfs_py.run("debian:12", ["sleep", "infinity"]) as container:
        print(container.exec(["cat", "/etc/os-release"]).stdout)

What is offered here is `overlayfs_py.api`'s, loaded at its first use (docs/API.md).
"""

__version__ = "0.1.0"

TYPE_CHECKING = False  # typing's: importing that costs more than all of this module
if TYPE_CHECKING:
    from overlayfs_py.api import Container, OverlayError, Result, Store, inspect, mounted, pull, run

__all__ = ["Container", "OverlayError", "Result", "Store", "inspect", "mounted", "pull", "run"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from overlayfs_py import api

        value: object = getattr(api, name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
