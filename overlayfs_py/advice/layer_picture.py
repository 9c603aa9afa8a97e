"""A layer as a picture: each directory a field as large as what is in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

from overlayfs_py.advice.treemap import Rectangle, squarified
from overlayfs_py.image.units import human_size
from overlayfs_py.terminal_text import for_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.advice.image_report import LayerReport

# Of a screen of middle width: what of it a field is depends on that, and scales with the page.
_PLACE = Rectangle(0, 0, 1040, 320)
_HEAD, _EDGE = 20.0, 3.0  # around what is in a directory; also in the page's style
_DEEPEST = 6
_SMALLEST = 60.0  # fields of less area are drawn as one
_SHADES = 8


@dataclass(slots=True)
class _Field:
    """A file, or a directory and what is in it."""

    name: bytes
    path: bytes
    size: int = 0
    wasted: int = 0
    files: int = 0
    below: dict[bytes, _Field] = field(default_factory=dict)

    def count(self, size: int, wasted: int, files: int = 1) -> None:
        """Add a file that is in it."""
        self.size += size
        self.wasted += wasted
        self.files += files


def picture(layer: LayerReport) -> str:
    """The picture as HTML; all text from the image is escaped."""
    label = f"Layer {layer.at}: {human_size(layer.bytes)} in {layer.files} files"
    fields = "".join(_below(_tree(layer), _PLACE, 0, None))
    return f'<div class="map" role="img" aria-label="{escape(label)}">{fields}</div>'


def _tree(layer: LayerReport) -> _Field:
    root = _Field(b"", b"")
    for fact in layer.shown:
        wasted = fact.size if fact.number in layer.wasted else 0
        here = root
        here.count(fact.size, wasted)
        for name in fact.path.split(b"/"):
            here = here.below.setdefault(name, _Field(name, here.path + b"/" + name))
            here.count(fact.size, wasted)
    return root


def _below(here: _Field, place: Rectangle, depth: int, shade: int | None) -> Iterator[str]:
    """What is in a directory, the largest first; each of the first that are several has a hue."""
    fields = _large_ones(here, place.width * place.height)
    places = squarified([each.size for each in fields], place)
    for at, (each, its) in enumerate(zip(fields, places, strict=True)):
        left, top = (its.x - place.x) / place.width, (its.y - place.y) / place.height
        width, height = its.width / place.width, its.height / place.height
        style = f"left:{left:.2%};top:{top:.2%};width:{width:.2%};height:{height:.2%}"
        hue = at % _SHADES if shade is None and len(fields) > 1 else shade
        yield from _one(each, its, style, depth, hue)


def _large_ones(here: _Field, area: float) -> list[_Field]:
    """Those that are large enough to be seen, and one for all others."""
    below = sorted(map(_joined, here.below.values()), key=lambda each: (-each.size, each.name))
    large = [each for each in below if each.size and each.size * area >= _SMALLEST * here.size]
    rest = [each for each in below[len(large) :] if each.size]
    if rest:
        others = _Field(b"%d more" % len(rest), here.path + b"/...")
        for each in rest:
            others.count(each.size, each.wasted, each.files)
        large.append(others)
    return sorted(large, key=lambda each: -each.size)


def _joined(here: _Field) -> _Field:
    """A directory with one thing in it, and that, are one field."""
    name = here.name
    while len(here.below) == 1:
        (here,) = here.below.values()
        name += b"/" + here.name
    return _Field(name, here.path, here.size, here.wasted, here.files, here.below)


def _one(
    each: _Field, place: Rectangle, style: str, depth: int, shade: int | None
) -> Iterator[str]:
    inner = Rectangle(0, 0, place.width - 2 * _EDGE - 2, place.height - _HEAD - _EDGE - 2)
    opens = bool(each.below) and depth < _DEEPEST and inner.width > 30 and inner.height > 18
    classes = [f"s{shade or 0}", f"d{min(depth, 3)}"]
    if 2 * each.wasted > each.size:
        classes.append("w")
    waste = f", waste {human_size(each.wasted)}" if each.wasted else ""
    files = f" in {each.files} files" if each.files > 1 else ""
    title = f"{for_terminal(each.path)}: {human_size(each.size)}{files}{waste}"
    yield f'<div class="{" ".join(classes)}" style="{style}" title="{escape(title)}">'
    if place.width > 44 and place.height > 17:
        size = f" <s>{human_size(each.size, 3)}</s>" if place.width > 90 else ""
        yield f"<b>{escape(for_terminal(each.name))}{size}</b>"
    if opens:
        yield "<div>"
        yield from _below(each, inner, depth + 1, shade)
        yield "</div>"
    yield "</div>"
