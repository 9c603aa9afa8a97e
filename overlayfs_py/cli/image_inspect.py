"""`overlayfs-py image inspect`, also `inspect`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.errors import say
from overlayfs_py.cli.store_arguments import IMAGE, open_store, root_option
from overlayfs_py.errors import Failure, OverlayError

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.image.templates.values import Value
    from overlayfs_py.store.images import StoredImage

_BAD_TEMPLATE = 64
_HELP = """Show all there is to say of images: docker's keys, as JSON or through a Go template.

Size is what the files of all layers add up to, in bytes. Lists print as `[a b]`, where blanks
inside are lost: `{{json .Config.Cmd}}` says where a word ends.

\b
Functions of templates beside Go's own: json split join title lower upper pad truncate.

\b
Examples:
  overlayfs-py image inspect debian:12
  overlayfs-py inspect -f '{{.Config.Cmd}}' debian:12
  overlayfs-py inspect -f '{{range .Config.Env}}{{println .}}{{end}}' debian:12
  overlayfs-py inspect -f '{{index .Config.Labels "maintainer"}}' debian:12
  overlayfs-py inspect -f '{{join .RepoTags ", "}} {{.Size}}' debian:12 alpine:3
"""


@click.command("inspect", help=_HELP)
@root_option
@click.option("-f", "--format", "form", default="", help="json, or a Go template.")
@click.option("--type", "kind", default="", metavar="image", help="What to look for; images alone.")
@click.option("-s", "--size", "_size", is_flag=True, help="Accepted for docker; no effect.")
@click.argument("images", nargs=-1, required=True, type=IMAGE)
def command(
    root: Path | None, images: tuple[str, ...], form: str, kind: str, *, _size: bool
) -> int:
    from overlayfs_py.image.templates.errors import TemplateError
    from overlayfs_py.image.templates.template import parse_template

    if kind not in {"", "image"}:
        raise Failure(f"--type {kind}: there are only images here")
    try:
        template = parse_template(form) if form not in {"", "json"} else None
    except TemplateError as error:
        raise Failure(f"template parsing error: {error}", _BAD_TEMPLATE) from error
    found, missing = [], None
    for name in images:
        try:
            found.append(inspected(open_store(root, to_find=name).image(name)))
        except OverlayError as error:
            missing = error
            say("overlayfs-py", str(error))
    if template is None:
        click.echo(_json(found, indented=not form))
    else:
        from overlayfs_py.image.inspection import inspect_format

        for image in found:
            try:
                click.echo(inspect_format(template, image))
            except TemplateError as error:
                raise Failure(f"template parsing error: {error}") from error
    return 0 if missing is None else missing.exit_code


def _json(images: list[Value], *, indented: bool) -> str:
    from overlayfs_py.image import go_json
    from overlayfs_py.image.inspection import inspect_json
    from overlayfs_py.image.templates.encoding import to_json

    if indented:
        return inspect_json(images)
    return go_json.compact([to_json(image) for image in images], escape_html=False)


def inspected(image: StoredImage) -> Value:
    """What there is to say of an image of the store."""
    from overlayfs_py.image.inspection import StoreFacts, inspect_image

    return inspect_image(
        image.config,
        StoreFacts(
            image.manifest.descriptor,
            image.references,
            image.repo_digests,
            image.size,
            tuple(os.fsdecode(layer.path) for layer in reversed(image.layers)),
            max((tag.tagged_ns for tag in image.tags), default=None),
        ),
    )
