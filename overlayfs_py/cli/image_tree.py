"""`overlayfs-py image tree`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.store_arguments import IMAGE, find_store, open_store, root_option

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.image.layer_tree import Stacked
    from overlayfs_py.store.images import StoredImage

_HELP = """Draw the layers of an image, or of all images and what they share.

Each line is a layer, above the one that it was made on, with the images that end in it.

\b
Examples:
  overlayfs-py image tree
  overlayfs-py image tree debian:12
"""


@click.command("tree", help=_HELP)
@root_option
@click.argument("image", required=False, type=IMAGE)
def command(root: Path | None, image: str | None) -> None:
    from overlayfs_py.image.layer_tree import draw_forest, draw_stack
    from overlayfs_py.image.listing import short_id
    from overlayfs_py.image.units import human_size

    if image is None:
        listed = find_store(root)
        images = [] if listed is None else listed.images()
        click.echo(draw_forest([_stacked(each) for each in images]))
        return
    store = open_store(root, to_find=image)
    others = [_stacked(other) for other in store.images()]
    found = store.image(image)
    stack = _stacked(found)
    click.echo(f"Image ID: {short_id(found.image_id)}")
    click.echo(f"Tags:     [{' '.join(stack.names if found.tags else ())}]")
    click.echo(f"Size:     {human_size(found.size)}")
    click.echo("Image Layers")
    click.echo(draw_stack(stack, others))


def _stacked(image: StoredImage) -> Stacked:
    from overlayfs_py.image.layer_tree import Stacked
    from overlayfs_py.image.listing import short_id
    from overlayfs_py.image.reference import parse_reference

    names = tuple(parse_reference(name).familiar for name in image.references)
    return Stacked(
        names or (short_id(image.image_id),),
        tuple((layer.diff_id, layer.record.files_size) for layer in image.layers),
    )
