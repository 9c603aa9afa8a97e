"""`overlayfs-py create`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Unpack

import click

from overlayfs_py.cli.container_options import (
    SETTINGS,
    CreateOptions,
    asked_of,
    container_options,
)
from overlayfs_py.cli.store_arguments import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.store.containers import ContainerRecord
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.store import Store

_HELP = """Make a container of IMAGE, to be started by `start`. Prints its ID.

\b
Examples:
  overlayfs-py create --name web -v "$PWD:/srv" nginx
  overlayfs-py start web
"""


@click.command("create", help=_HELP, context_settings=SETTINGS)
@container_options
def command(
    image: str, words: tuple[str, ...], root: Path | None, **options: Unpack[CreateOptions]
) -> None:
    from overlayfs_py.cli.foreground import starting

    with starting():
        _, record = made(image, words, root, options)
    click.echo(record.id)


def made(
    image: str, words: tuple[str, ...], root: Path | None, options: CreateOptions
) -> tuple[Store, ContainerRecord]:
    """Make the container that the options ask for.

    Raises:
        OSError: it cannot be made.
    """
    from overlayfs_py.containers import creation

    asked = asked_of(image, words, options)
    if asked.network == "host" and (asked.ports or asked.publish_all):
        click.echo("overlayfs-py: -p has no effect with the host's network", err=True)
    store = open_store(root)
    found = _found(store, image, root, options["when_to_pull"])
    cidfile = options["cidfile"]
    if cidfile is None:
        return store, creation.create(store, found, asked)
    with cidfile.open("x") as file:
        try:
            record = creation.create(store, found, asked)
        except BaseException:
            os.unlink(cidfile)
            raise
        file.write(record.id)
    return store, record


def _found(store: Store, name: str, root: Path | None, when_to_pull: str) -> StoredImage:
    from overlayfs_py.cli import pulling
    from overlayfs_py.store.failures import NotInStore

    if when_to_pull == "always":
        pulling.pull(name, root)
    try:
        return store.image(name)
    except NotInStore:
        if when_to_pull != "missing":
            raise
    pulling.pull(name, root)
    return store.image(name)
