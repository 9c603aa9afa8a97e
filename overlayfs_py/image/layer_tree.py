"""Which layers images are made of, and share, drawn as a tree."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from overlayfs_py.image.config import chain_ids
from overlayfs_py.image.listing import short_id
from overlayfs_py.image.units import human_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from overlayfs_py.image.digest import Digest


@dataclass(frozen=True, slots=True)
class Stacked:
    """An image as a stack of layers."""

    names: tuple[str, ...]  # familiar ones; its short ID where it has none
    layers: tuple[tuple[Digest, int], ...]  # diff ID and size in bytes, base first


@dataclass(slots=True)
class _Layer:
    """A layer at a place in a stack: with the same layers below it, it is the same place."""

    diff_id: Digest
    size: int
    names: list[str] = field(default_factory=list)  # of the images that end here
    above: dict[Digest, _Layer] = field(default_factory=dict)  # by chain ID


def draw_stack(image: Stacked, others: Iterable[Stacked]) -> str:
    """The layers of one image, base first, each with the images that end in it."""
    tops: dict[Digest, list[str]] = {}
    for other in (image, *others):
        chain = chain_ids(diff_id for diff_id, _ in other.layers)
        if chain:
            known = tops.setdefault(chain[-1], [])
            known += [name for name in other.names if name not in known]
    chain = chain_ids(diff_id for diff_id, _ in image.layers)
    lines = []
    for at, ((diff_id, size), chain_id) in enumerate(zip(image.layers, chain, strict=True)):
        branch = "└──" if at == len(chain) - 1 else "├──"
        lines.append(f"{branch} {_shown(diff_id, size, tops.get(chain_id, ()))}")
    return "\n".join(lines)


def draw_forest(images: Iterable[Stacked]) -> str:
    """All layers of all images, each above the one that it was made on."""
    roots: dict[Digest, _Layer] = {}
    for image in images:
        _plant(roots, image)
    return "\n".join(_lines(roots, ""))


def _plant(roots: dict[Digest, _Layer], image: Stacked) -> None:
    level, top = roots, None
    for (diff_id, size), chain_id in zip(
        image.layers, chain_ids(diff_id for diff_id, _ in image.layers), strict=True
    ):
        top = level.setdefault(chain_id, _Layer(diff_id, size))
        level = top.above
    if top is not None:
        top.names += [name for name in image.names if name not in top.names]


def _lines(level: dict[Digest, _Layer], margin: str) -> Iterable[str]:
    pending = [(layer, margin, at == 0) for at, layer in enumerate(reversed(level.values()))]
    while pending:
        layer, before, is_last = pending.pop()
        branch = "└──" if is_last else "├──"
        yield f"{before}{branch} {_shown(layer.diff_id, layer.size, layer.names)}"
        inside = before + ("    " if is_last else "│   ")
        above = reversed(layer.above.values())
        pending += [(other, inside, at == 0) for at, other in enumerate(above)]


def _shown(diff_id: Digest, size: int, names: Sequence[str]) -> str:
    ends = f"  {', '.join(names)}" if names else ""
    return f"{short_id(diff_id)} {human_size(size, 3):>7}{ends}"
