"""Uppers of before: what the snapshots of a union in use have made layers, above all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from overlayfs_py.layers.host import HostTree


class KeptLayer(NamedTuple):
    """One of them, by the name that its owner has for it."""

    name: bytes
    position: int  # in the stack
    tree: HostTree


class KeptLayers:
    """Topmost first. Positions of layers below never change: new ones count downwards."""

    def __init__(self, below: int) -> None:
        """`below` is the position of the first layer that is none of them."""
        self._below = below
        self._layers: list[KeptLayer] = []

    def holds(self, position: int) -> bool:
        """Whether the layer at a position is one of them."""
        return position < self._below

    @property
    def trees(self) -> list[HostTree]:
        return [layer.tree for layer in self._layers]

    @property
    def positions(self) -> list[int]:
        return [layer.position for layer in self._layers]

    @property
    def top(self) -> int:
        """The position of the topmost layer of all."""
        return self._layers[0].position if self._layers else self._below

    def append(self, name: bytes, position: int, tree: HostTree) -> None:
        """Add one below the others, in the order of a stack that is being opened."""
        self._layers.append(KeptLayer(name, position, tree))

    def push(self, name: bytes, tree: HostTree) -> int:
        """Put one above all others; returns its position."""
        position = self.top - 1
        self._layers.insert(0, KeptLayer(name, position, tree))
        return position

    def shared_with(self, names: Sequence[bytes]) -> int:
        """How many of the lowest are the lowest of `names`, too."""
        pairs = zip(reversed(self._layers), reversed(names), strict=False)
        count = 0
        for layer, name in pairs:
            if layer.name != name:
                break
            count += 1
        return count

    def above(self, count: int) -> list[KeptLayer]:
        """All but the lowest `count`."""
        return self._layers[: len(self._layers) - count]

    def exchange(self, count: int, new: Iterable[tuple[bytes, HostTree]]) -> None:
        """Keep the lowest `count`, close those above, and put new ones there, lowest first."""
        gone = self.above(count)
        self._layers = self._layers[len(gone) :]
        for name, tree in new:
            self.push(name, tree)
        for layer in gone:
            layer.tree.close()

    def close(self) -> None:
        """Close all."""
        for layer in self._layers:
            layer.tree.close()
        self._layers.clear()
