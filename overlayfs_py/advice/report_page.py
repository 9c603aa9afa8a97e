"""A report on an image as one page: no script, nothing from the network, light and dark."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from overlayfs_py.advice.layer_picture import picture
from overlayfs_py.image.units import human_size
from overlayfs_py.terminal_text import for_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.advice.image_findings import Advice
    from overlayfs_py.advice.image_report import ImageReport, LayerReport

_STYLE = Path(__file__).with_name("report.css")
_PATHS = 12
_HUES = 8


def page(found: ImageReport) -> str:
    """The page; all text from the image is escaped, and what is not printable shown as escapes."""
    name = escape(for_terminal(found.name))
    # Nothing may be fetched or run, whatever a name in an image says.
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return "".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            '<meta name="color-scheme" content="light dark">\n',
            f"<title>{name}: layers and waste</title>\n",
            f"<style>{_STYLE.read_text()}</style>\n</head>\n<body>\n",
            *_head(found, name),
            *_stack(found),
            *_advice(found),
            *_layers(found),
            "</body>\n</html>\n",
        ]
    )


def _head(found: ImageReport, name: str) -> Iterator[str]:
    share = 100 * found.wasted_share
    figures = (
        ("size", human_size(found.bytes)),
        ("layers", str(len(found.layers))),
        ("files", f"{sum(layer.files for layer in found.layers):,}"),
        ("waste", f"{human_size(found.wasted_bytes)} <small>{share:.1f} %</small>"),
        ("advice", str(len(found.advice))),
    )
    yield f"<header><h1>{name}</h1><p class=id>{escape(found.image_id)}</p><dl>"
    for title, value in figures:
        kind = " class=bad" if title == "waste" and share >= 5 else ""
        yield f"<div{kind}><dt>{title}</dt><dd>{value}</dd></div>"
    yield "</dl></header>\n"


def _stack(found: ImageReport) -> Iterator[str]:
    """All layers as one bar, each as long as it is large."""
    yield '<section><h2>What each instruction added</h2><div class="bar">'
    for layer in found.layers:
        if layer.bytes:
            part = 100 * layer.bytes / max(found.bytes, 1)
            waste = 100 * layer.wasted_bytes / layer.bytes
            title = escape(f"{layer.at}: {human_size(layer.bytes)}, {_told(layer)}")
            yield (
                f'<a href="#layer-{layer.at}" class="s{layer.at % _HUES}" title="{title}" '
                f'style="flex:{part:.3f}"><i style="height:{waste:.1f}%"></i></a>'
            )
    yield "</div><ol start=0 class=steps>"
    largest = max((layer.bytes for layer in found.layers), default=0) or 1
    for layer in found.layers:
        yield _step(layer, largest)
    yield "</ol></section>\n"


def _step(layer: LayerReport, largest: int) -> str:
    sound = 100 * (layer.bytes - layer.wasted_bytes) / largest
    waste = 100 * layer.wasted_bytes / largest
    wasted = f", waste {human_size(layer.wasted_bytes)}" if layer.wasted_bytes else ""
    return (
        f'<li><a href="#layer-{layer.at}"><code>{escape(_told(layer))}</code></a>'
        f'<span class="line"><i class="s{layer.at % _HUES}" style="width:{sound:.2f}%"></i>'
        f'<i class="w" style="width:{waste:.2f}%"></i></span>'
        f"<span class=size>{human_size(layer.bytes)} in {layer.files:,} files{wasted}</span></li>"
    )


def _advice(found: ImageReport) -> Iterator[str]:
    yield "<section><h2>Advice</h2>"
    if not found.advice:
        yield "<p class=none>Nothing: no waste, no secret, no loose mode was found.</p>"
    for each in found.advice:
        yield from _piece(each)
    yield "</section>\n"


def _piece(each: Advice) -> Iterator[str]:
    saves = f"<span class=saves>saves {human_size(each.saved_bytes)}</span>" if each.saves else ""
    first = f"<code>{escape(for_terminal(b'/' + each.paths[0]))}</code>" if each.paths else ""
    yield (
        f'<details class="{each.severity.word}"><summary><span class=kind>{each.severity.word}'
        f"</span><span class=what>{escape(for_terminal(each.message))}{first}</span>"
        f"{saves}</summary>"
    )
    yield "<ul>"
    for path in each.paths[:_PATHS]:
        yield f"<li><code>{escape(for_terminal(b'/' + path))}</code></li>"
    if len(each.paths) > _PATHS:
        yield f"<li>and {len(each.paths) - _PATHS:,} more</li>"
    yield "</ul>"
    if each.rewrite:
        yield f"<p>Instead:</p><pre>{escape(for_terminal(each.rewrite))}</pre>"
    yield f"<p class=rule>{escape(each.rule)}</p></details>"


def _layers(found: ImageReport) -> Iterator[str]:
    yield (
        "<section><h2>What is in them</h2>"
        "<p class=key>Each field is as large as what it holds. <i class=w></i> is waste.</p>"
    )
    for layer in reversed(found.layers):
        yield (
            f'<article id="layer-{layer.at}"><h3><span>{layer.at}</span>'
            f"<code>{escape(_told(layer))}</code></h3><p class=size>{human_size(layer.bytes)} in "
            f"{layer.files:,} files, {layer.deletes:,} deleted or replaced below, "
            f"waste {human_size(layer.wasted_bytes)}</p>"
        )
        if layer.bytes:
            yield picture(layer)
        yield f"<p class=id>{escape(layer.diff_id)}</p></article>\n"
    yield "</section>"


def _told(layer: LayerReport) -> str:
    return for_terminal(layer.instruction) or "not told by the history"
