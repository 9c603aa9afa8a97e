"""Every kind of layer, made of one host directory: what `test_conformance.py` is asked of."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.packs.layers import directory_layer, pack
from tests.packs.reading import layer_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from overlayfs_py.layers.interface import Layer


@contextmanager
def _packed(tree: Path) -> Iterator[Layer]:
    with layer_of(pack(tree, tree.with_suffix(".pack"))) as layer:
        yield layer


KINDS: dict[str, Callable[[Path], AbstractContextManager[Layer]]] = {
    "directory": directory_layer,
    "pack": _packed,
}
