"""What people do to a store that holds `base:1` and `app:1`, which share a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.image.digest import digest_of
from overlayfs_py.image.reference import parse_reference
from tests.store.samples import add_image, diff_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from overlayfs_py.store.store import Store

_DOWNLOADED = b"a kept blob" * 1000


def prepare(store: Store) -> None:
    """Make what the changes are made to."""
    add_image(store, ["base"], "base:1")
    add_image(store, ["base", "app"], "app:1")
    add_image(store, ["old"], "moved:1")
    add_image(store, ["base"], "moved:1", comment="newer")


def _pull(store: Store) -> None:
    add_image(store, ["base", "middle", "top"], "new:1", "new:2", repositories=["docker.io/x/new"])


def _pull_over(store: Store) -> None:
    add_image(store, ["base", "middle"], "app:1", repositories=["docker.io/x/app"])


def _download(store: Store) -> None:
    digest = digest_of(_DOWNLOADED)
    with store.add() as addition, addition.download(digest) as download:
        download.restart()
        download.append(_DOWNLOADED)
        addition.keep_download(download, digest)


def _again(store: Store) -> None:
    add_image(store, ["base"], "base:1", repositories=["docker.io/x/base"])


def _remove(store: Store, name: str) -> None:
    if any(f"/{name}" in reference for image in store.images() for reference in image.references):
        store.remove_image(name)


CHANGES: dict[str, Callable[[Store], object]] = {
    "pull": _pull,
    "pull over a tag": _pull_over,
    "pull again": _again,
    "download": _download,
    "tag": lambda store: store.tag("base:1", parse_reference("base:2")),
    "move a tag": lambda store: store.tag("base:1", parse_reference("app:1")),
    "rmi": lambda store: _remove(store, "app:1"),
    "rmi of a shared layer": lambda store: _remove(store, "base:1"),
    "prune": lambda store: store.prune(),
    "prune all": lambda store: store.prune(tagged=True),
}

LAYERS = [diff_id(name) for name in ("base", "app", "old", "middle", "top")]
