"""What COPY, ADD and mounts take from: the build context, another stage, an image."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

from overlayfs_py.builds.failures import BadContext
from overlayfs_py.builds.plan import ContextOrigin, ImageOrigin, StageOrigin, is_scratch
from overlayfs_py.builds.request import BuildContext, NamedImage
from overlayfs_py.builds.stat_cache import StatCache

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from overlayfs_py.builds.events import Event
    from overlayfs_py.builds.imported import Imported
    from overlayfs_py.builds.plan import Origin
    from overlayfs_py.builds.request import Request
    from overlayfs_py.builds.selection import Selected
    from overlayfs_py.builds.state import StageState
    from overlayfs_py.dockerfile.instructions import Add
    from overlayfs_py.image.digest import Digest
    from overlayfs_py.image.platform import Platform
    from overlayfs_py.store.additions import Addition
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.store import Store
    from overlayfs_py.store.stored_layer import StoredLayer


class Stages(Protocol):
    """The other stages of the build."""

    def state(self, index: int) -> StageState:
        """What an earlier stage has become; waits until it is there."""

    def tell(self, event: Event) -> None:
        """Let the build know."""


class Sources:
    """Opens what one stage takes from, each once. Open as long as the stage is built."""

    def __init__(self, request: Request, store: Store, addition: Addition, stages: Stages) -> None:
        self._request = request
        self._store = store
        self._addition = addition
        self._stages = stages
        self._stack = ExitStack()
        self._opened: dict[Origin, BuildContext] = {}
        self._images: dict[tuple[str, Platform], StoredImage] = {}
        self._stats: dict[str, StatCache] = {}

    def close(self) -> None:
        """Close them, and keep what was learned of their files."""
        for stats in self._stats.values():
            stats.save()
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def state(self, index: int) -> StageState:
        """What an earlier stage has become."""
        return self._stages.state(index)

    def image(self, reference: str, platform: Platform) -> StoredImage:
        """An image, which stays as long as this is open; its layers as long as the addition."""
        known = self._images.get((reference, platform))
        if known is None:
            known, layers = self._request.bring(reference, platform)
            self._stack.enter_context(layers)
            for layer in known.layers:
                self._addition.find_layer(layer.diff_id)
            self._images[reference, platform] = known
        return known

    @property
    def imported(self) -> Imported:
        """What other caches know."""
        return self._request.imported

    def layers(self, diff_ids: Sequence[Digest]) -> tuple[StoredLayer, ...]:
        """Layers of a state, lowest first; those that another cache has are fetched now.

        Raises:
            LayersGone: one is not to be had.
        """
        self.imported.bring(diff_ids, self._addition, self._stages.tell)
        found = [self._addition.find_layer(diff_id) for diff_id in diff_ids]
        return tuple(layer for layer in found if layer is not None)

    def main(self) -> BuildContext:
        """The build context.

        Raises:
            BadContext: there is none.
        """
        if self._request.context is None:
            raise BadContext("build context", "there is none: the Dockerfile came without one")
        return self._request.context

    def open(self, origin: Origin, platform: Platform) -> BuildContext:
        """Return what an origin holds."""
        if isinstance(origin, ContextOrigin):
            named = self._request.named[origin.name]
            if isinstance(named, BuildContext):
                return named
            origin = ImageOrigin(named.reference)
        found = self._opened.get(origin)
        if found is None:
            layers = self.layers_of(origin, platform)
            from overlayfs_py.builds.layers_context import LayersContext  # loads the union

            tree = LayersContext(layers, _name(origin))
            self._stack.callback(tree.close)
            found = self._opened[origin] = BuildContext(tree)
        return found

    def stack_of(self, origin: Origin, platform: Platform) -> str:
        """The chain ID of what an origin's layers show; empty for what may change."""
        if isinstance(origin, ContextOrigin):
            named = self._request.named[origin.name]
            if isinstance(named, BuildContext):
                return ""
            origin = ImageOrigin(named.reference)
        if isinstance(origin, StageOrigin):
            return self.state(origin.index).parent
        if is_scratch(origin):
            return ""
        return (self.image(origin.reference, platform).config.chain_ids or ("",))[-1]

    def layers_of(self, origin: Origin, platform: Platform) -> tuple[StoredLayer, ...]:
        """The layers of a stage or an image, lowest first."""
        if isinstance(origin, StageOrigin):
            return self.layers(self.state(origin.index).diff_ids)
        assert isinstance(origin, ImageOrigin)
        return () if is_scratch(origin) else self.image(origin.reference, platform).layers

    def stats(self, context: BuildContext) -> StatCache | None:
        """What is known of a context's files already."""
        name = context.tree.stats_name
        if not name:
            return None
        if name not in self._stats:
            self._stats[name] = StatCache(self._store.builds.root / "stats", name)
        return self._stats[name]

    def remote(self, source: str, instruction: Add) -> tuple[Selected, ...]:
        """Bring a source of ADD that lies elsewhere, each time anew; it stays as long as this."""
        from overlayfs_py.builds import remote_sources

        return remote_sources.bring(source, instruction, self._request, self._addition, self._stack)

    def named_image(self, name: str) -> str | None:
        """The image that a `--build-context` is, None if it is a tree of files."""
        named = self._request.named[name]
        return named.reference if isinstance(named, NamedImage) else None


def _name(origin: Origin) -> str:
    match origin:
        case StageOrigin(index):
            return f"stage {index}"
        case ContextOrigin(name):
            return name
        case ImageOrigin(reference):
            return reference
