"""`overlayfs-py image explore`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.store_arguments import IMAGE, open_store, root_option
from overlayfs_py.errors import Failure

if TYPE_CHECKING:
    import curses
    from pathlib import Path

    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.layers import LayersInUse

_HELP = """Look through an image's layers on the terminal.

On the left the layers, with what later ones hide of them; on the right the files that one adds,
changes and removes, or all that shows with it on top. `?` lists the keys. Nothing is mounted or
unpacked. For programs there is `image analyze --json`.

\b
Examples:
  overlayfs-py image explore app:1
  overlayfs-py image explore --no-color app:1
"""


@click.command("explore", help=_HELP)
@root_option
@click.option("--no-color", is_flag=True, help="Letters say it all.  [also: NO_COLOR is set]")
@click.argument("image", type=IMAGE)
def command(root: Path | None, image: str, *, no_color: bool) -> None:
    if not (os.isatty(0) and os.isatty(1)):
        raise Failure("image explore: needs a terminal; `image analyze --json` is for programs")
    stored, layers = open_store(root, to_find=image).use_image(image)
    colours = not (no_color or os.environ.get("NO_COLOR"))
    with layers:
        _show(image, stored, layers, colours=colours)


def _one_line(created_by: str) -> str:
    from overlayfs_py.advice.image_findings import instruction

    return " ".join(instruction(created_by).split()) or "(the history does not tell)"


def _show(name: str, stored: StoredImage, layers: LayersInUse, *, colours: bool) -> None:
    import curses

    from overlayfs_py.advice.image_facts import ImageFacts
    from overlayfs_py.advice.image_places import ImagePlaces
    from overlayfs_py.cli.explore_screen import LayerLine, Progress, Screen, whole_screen
    from overlayfs_py.image.units import human_size
    from overlayfs_py.terminal_text import for_terminal

    def show(window: curses.window) -> None:
        progress = Progress(window, name, len(layers.layers))
        with ImageFacts(stored.config, layers.layers, on_file=progress) as facts:
            places = ImagePlaces(facts.layers)
        hidden = places.wasted(len(facts.layers))
        lines = [
            LayerLine(layer.bytes, hidden[layer.at], _one_line(layer.created_by))
            for layer in facts.layers
        ]
        size = sum(line.bytes for line in lines)
        share = 100 * sum(hidden) / size if size else 0.0
        title = (
            f"{for_terminal(name)}  {human_size(size)} in {len(lines)} layers, "
            f"{human_size(sum(hidden))} ({share:.1f} %) hidden by later ones"
        )
        Screen(window, title, lines, places, colours=colours).run()

    os.environ.setdefault("ESCDELAY", "25")
    try:
        with whole_screen() as window:
            show(window)
    except curses.error as error:
        raise Failure(f"the terminal (TERM={os.environ.get('TERM', '')}): {error}") from error
