"""Results as a picture: for every case where each side stands beside kernel overlayfs, in SVG."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from scripts.benchmarks.sides import DIRECT, KERNEL, SIDES
from scripts.benchmarks.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.benchmarks.results import Results

_NAMES_WIDTH = 330
_PLOT_WIDTH = 760
_MARGIN = 20
_ROW = 24
_TOP = 140  # below title, caption and legend
_LEAST, _MOST = 0.1, 100.0  # ratios; what lies outside stands at the edge
_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
# Told apart by people who see red and green alike (Okabe and Ito).
_COLOURS = {
    "fuse-overlayfs": "#000000",
    "fuse-overlayfs-2": "#e69f00",
    "unionfs": "#d55e00",
    "plain": "#999999",
    "direct": "#0072b2",
    "pyfuse3": "#56b4e9",
    "direct+passthrough": "#009e73",
    "direct+metacopy": "#cc79a7",
}
_SPARE = "#6a3d9a"  # for a variant that has none
_LEGEND_COLUMNS = 4
_LEGEND_ROW = 20


def render(results: Results, caption: str) -> str:
    """Return the picture; a pale band reaches to what the direct driver is allowed."""
    cases = [case for case in results.cases if results.ratio(case, KERNEL, KERNEL) is not None]
    sides = [side for side in results.sides if side != KERNEL]
    height = _TOP + _ROW * len(cases) + 2 * _MARGIN
    width = _NAMES_WIDTH + _PLOT_WIDTH + 2 * _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        ' font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        _text(_MARGIN, 24, "Time taken, as a multiple of kernel overlayfs", weight="bold"),
        _text(_MARGIN, 44, caption, colour="#555"),
        *_legend(sides),
        *_scale(height),
    ]
    for row, case in enumerate(cases):
        parts += _row(results, case, sides, _TOP + _ROW * row + _ROW / 2)
    return "\n".join([*parts, "</svg>\n"])


def _x(ratio: float) -> float:
    held = min(max(ratio, _LEAST), _MOST)
    return _NAMES_WIDTH + _PLOT_WIDTH * math.log(held / _LEAST) / math.log(_MOST / _LEAST)


def _legend(sides: list[str]) -> Iterator[str]:
    width = (_NAMES_WIDTH + _PLOT_WIDTH) / _LEGEND_COLUMNS
    for index, side in enumerate(sides):
        row, column = divmod(index, _LEGEND_COLUMNS)
        x, y = _MARGIN + column * width, 63 + row * _LEGEND_ROW
        colour = _COLOURS.get(side, _SPARE)
        yield f'<circle cx="{x + 5:.1f}" cy="{y}" r="5" fill="{colour}"/>'
        yield _text(x + 14, y + 5, SIDES[side].title)


def _scale(height: float) -> Iterator[str]:
    bottom = height - _MARGIN
    for tick in _TICKS:
        x = _x(tick)
        colour = "#444" if tick == 1 else "#ddd"
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}" stroke="{colour}"/>'
        yield _text(x, _TOP - 6, f"{tick:g}", anchor="middle", colour="#555")


def _row(results: Results, case: str, sides: list[str], y: float) -> Iterator[str]:
    yield _text(_NAMES_WIDTH - 12, y + 4, case, anchor="end")
    for target in TARGETS:
        if target.case == case and target.side == DIRECT:
            x, end = _x(_LEAST), _x(target.of_kernel)
            yield (
                f'<rect x="{x:.1f}" y="{y - 8:.1f}" width="{end - x:.1f}" height="16"'
                ' fill="#0072b2" fill-opacity="0.08"/>'
            )
    for side in sides:
        yield from _mark(results, case, side, y)


def _mark(results: Results, case: str, side: str, y: float) -> Iterator[str]:
    ratio = results.ratio(case, side, KERNEL)
    summary = results.find(case, side)
    colour = _COLOURS.get(side, _SPARE)
    if ratio is not None:
        size = 6 if side == DIRECT else 4.5
        yield (
            f'<circle cx="{_x(ratio):.1f}" cy="{y:.1f}" r="{size}" fill="{colour}">'
            f"<title>{escape(SIDES[side].title)}: {ratio:.2f}</title></circle>"
        )
    elif summary is not None and summary.failure is not None:
        title = f"<title>{escape(SIDES[side].title)}: failed</title>"
        at = f'x="{_NAMES_WIDTH + _PLOT_WIDTH + 6}" y="{y + 4:.1f}"'
        yield f'<text {at} fill="{colour}">&#10005;{title}</text>'


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    colour: str = "black",
    weight: str = "normal",
) -> str:
    style = f'text-anchor="{anchor}" fill="{colour}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'
