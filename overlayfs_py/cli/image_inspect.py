"""`overlayfs-py inspect`, also of `image` and `container`, which look for these alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.errors import say
from overlayfs_py.cli.store_arguments import IMAGE, open_store, root_option
from overlayfs_py.errors import Failure, OverlayError

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.image.go_json import Json
    from overlayfs_py.image.templates.template import Template
    from overlayfs_py.image.templates.values import Value
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.store import Store

    _Found = Value | dict[str, Json]

_BAD_TEMPLATE = 64
_KINDS = ("", "container", "image")
_HELP = """Show all there is to say of containers and images, with docker's keys.

As JSON, or through a Go template.

Size is what the files of all layers add up to, in bytes. Lists print as `[a b]`, where blanks
inside are lost: `{{json .Config.Cmd}}` says where a word ends.

\b
Functions of templates beside Go's own: json split join title lower upper pad truncate.

\b
Examples:
  overlayfs-py inspect debian:12
  overlayfs-py inspect -f '{{.State.Status}} {{.State.ExitCode}}' web
  overlayfs-py inspect -f '{{.Config.Cmd}}' debian:12
  overlayfs-py inspect -f '{{range .Config.Env}}{{println .}}{{end}}' debian:12
  overlayfs-py inspect -f '{{index .Config.Labels "maintainer"}}' debian:12
  overlayfs-py inspect -f '{{join .RepoTags ", "}} {{.Size}}' debian:12 alpine:3
"""


@click.command("inspect", help=_HELP)
@root_option
@click.option("-f", "--format", "form", default="", help="json, or a Go template.")
@click.option("--type", "kind", default="", metavar="container|image", help="What to look for.")
@click.option("-s", "--size", "_size", is_flag=True, help="Accepted for docker; no effect.")
@click.argument("images", metavar="NAME...", nargs=-1, required=True, type=IMAGE)
def command(
    root: Path | None, images: tuple[str, ...], form: str, kind: str, *, _size: bool
) -> int:
    from overlayfs_py.image.templates.errors import TemplateError
    from overlayfs_py.image.templates.template import parse_template

    group = click.get_current_context().parent
    if group is not None and group.info_name in _KINDS:  # `image inspect`, `container inspect`
        kind = group.info_name
    if kind not in _KINDS:
        raise Failure(f"--type {kind}: container or image is needed")
    try:
        template = parse_template(form) if form not in {"", "json"} else None
    except TemplateError as error:
        raise Failure(f"template parsing error: {error}", _BAD_TEMPLATE) from error
    found: list[_Found] = []
    missing = None
    for name in images:
        try:
            found.append(_find(root, name, kind))
        except OverlayError as error:
            missing = error
            say("overlayfs-py", str(error))
    if template is None:
        click.echo(_json(found, indented=not form))
    else:
        for each in found:
            try:
                click.echo(_formatted(template, each))
            except TemplateError as error:
                raise Failure(f"template parsing error: {error}") from error
    if missing is None:
        return 0
    return missing.exit_code if kind == "image" else 1


def _find(root: Path | None, name: str, kind: str) -> _Found:
    """Look for a container first, as docker does.

    Raises:
        NotInStore, Ambiguous: there is none, or not one alone.
    """
    from overlayfs_py.store.failures import NotInStore

    if kind != "image":
        try:
            return _container(open_store(root), name)
        except NotInStore as error:
            if kind == "container":
                raise Failure(str(error)) from None
    try:
        return inspected(open_store(root, to_find=name).image(name))
    except NotInStore:
        if kind == "image":
            raise
        raise Failure(f"{name}: no such container or image") from None


def _container(store: Store, name: str) -> dict[str, Json]:
    from overlayfs_py.containers import life
    from overlayfs_py.containers.inspection import inspect_container

    record = store.containers.get(name)
    directory = store.containers.directory(record.id)
    return inspect_container(record, life.state_of(store, record), directory, store.volumes.data)


def _formatted(template: Template, found: _Found) -> str:
    from overlayfs_py.image.inspection import inspect_format
    from overlayfs_py.image.templates.encoding import from_json
    from overlayfs_py.image.templates.execution import MissingKey

    if isinstance(found, dict):
        # Docker's own struct calls it ID.
        return template.execute(from_json({**found, "ID": found["Id"]}), MissingKey.ERROR)
    return inspect_format(template, found)


def _json(found: list[_Found], *, indented: bool) -> str:
    from overlayfs_py.image import go_json
    from overlayfs_py.image.templates.encoding import to_json

    documents: list[Json] = [each if isinstance(each, dict) else to_json(each) for each in found]
    write = go_json.indented if indented else go_json.compact
    return write(documents, escape_html=False)


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
