"""Rectangles whose areas are amounts, as near to squares as can be (Bruls, Huizing, van Wijk)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Rectangle(NamedTuple):
    """A place in a picture."""

    x: float
    y: float
    width: float
    height: float


def squarified(amounts: Sequence[float], place: Rectangle) -> list[Rectangle]:
    """Divide a place among amounts, which fall and are more than 0; one rectangle for each."""
    total = sum(amounts)
    scale = place.width * place.height / total if total else 0.0
    areas = [amount * scale for amount in amounts]
    made: list[Rectangle] = []
    at = 0
    while at < len(areas):
        side = min(place.width, place.height)
        end = at + 1
        while end < len(areas) and _worst(areas[at : end + 1], side) <= _worst(areas[at:end], side):
            end += 1
        row, place = _row(areas[at:end], place)
        made += row
        at = end
    return made


def _worst(areas: Sequence[float], side: float) -> float:
    """How far the least square of a row is from one: 1 for a square."""
    depth = sum(areas) / side if side else 0.0
    if not depth:
        return float("inf")
    return max(max(depth * depth / area, area / (depth * depth)) for area in areas)


def _row(areas: Sequence[float], place: Rectangle) -> tuple[list[Rectangle], Rectangle]:
    """Lay a row along the shorter side; returns it and what is left."""
    x, y, width, height = place
    depth = sum(areas) / min(width, height) if min(width, height) else 0.0
    made = []
    if width >= height:
        for area in areas:
            length = area / depth if depth else 0.0
            made.append(Rectangle(x, y, depth, length))
            y += length
        return made, Rectangle(x + depth, place.y, max(width - depth, 0.0), height)
    for area in areas:
        length = area / depth if depth else 0.0
        made.append(Rectangle(x, y, length, depth))
        x += length
    return made, Rectangle(place.x, y + depth, width, max(height - depth, 0.0))
