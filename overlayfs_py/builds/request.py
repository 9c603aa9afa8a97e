"""What a caller asks a build for."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from msgspec import Struct, field

from overlayfs_py.builds.imported import Imported

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from overlayfs_py.builds.context import Context
    from overlayfs_py.builds.context_opening import CheckOut, Download
    from overlayfs_py.builds.plan import Plan
    from overlayfs_py.builds.variables import Variables
    from overlayfs_py.dockerfile.ignore import IgnoreRules
    from overlayfs_py.dockerfile.instructions import Dockerfile
    from overlayfs_py.image.platform import Platform
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.layers import LayersInUse

    # Finds an image in the store, or pulls it; it stays until the layers are closed.
    Bring = Callable[[str, Platform], tuple[StoredImage, LayersInUse]]


class Isolation(Enum):
    """Where the command of a RUN runs."""

    EMBEDDED = "embedded"  # in namespaces of its own, over a mount
    CHROOT = "chroot"  # in a copy of the files, with the rights of who builds


class BuildContext(Struct, frozen=True):
    """A tree of files, and what of it is not to be seen."""

    tree: Context
    ignore: IgnoreRules | None = None


class NamedImage(Struct, frozen=True):
    """A `--build-context` that is an image."""

    reference: str


class NoCache(Struct, frozen=True):
    """Which stages are built anew, whatever the cache has."""

    all: bool = False
    stages: frozenset[str] = frozenset()

    def covers(self, index: int, name: str | None) -> bool:
        return self.all or str(index) in self.stages or (name or "").lower() in self.stages


class Request(Struct, frozen=True):
    """All that a build depends on, but for the store."""

    dockerfile: Dockerfile
    plan: Plan
    variables: Variables
    bring: Bring
    check_out: CheckOut
    download: Download
    context: BuildContext | None  # None: there is none
    named: Mapping[str, BuildContext | NamedImage]  # in small letters
    identity: str = ""  # the same for builds of one Dockerfile: a hint, and no part of a key
    imported: Imported = field(default_factory=Imported)  # what other caches know
    no_cache: NoCache = field(default_factory=NoCache)
    secrets: Mapping[str, bytes] = field(default_factory=dict)
    has_network: bool = True
    latest_ns: int | None = None  # SOURCE_DATE_EPOCH: no time that is made is later
    keep_failed: bool = False
    dry_run: bool = False
    isolation: Isolation = Isolation.EMBEDDED
    jobs: int = 1
