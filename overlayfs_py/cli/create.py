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
    found = _found(store, image, root, options)
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


def _found(store: Store, name: str, root: Path | None, options: CreateOptions) -> StoredImage:
    """Find the image, or bring it; one for another platform than is asked for is none."""
    from overlayfs_py.image.errors import NoSuchPlatform
    from overlayfs_py.store.failures import NotInStore

    if options["when_to_pull"] != "always":
        try:
            return _for_platform(store.image(name), name, options["platform"])
        except (NotInStore, NoSuchPlatform):
            if options["when_to_pull"] == "never":
                raise
    from overlayfs_py.cli import pulling

    pulling.pull(name, root, options["platform"], quiet=options["quiet"])
    return store.image(name)


def _for_platform(image: StoredImage, name: str, platform: str) -> StoredImage:
    if platform:
        from overlayfs_py.image.errors import NoSuchPlatform
        from overlayfs_py.image.platform import parse_platform, runs_on

        if not runs_on(image.config.platform, parse_platform(platform)):
            raise NoSuchPlatform(f"{name}: {platform}", str(image.config.platform))
    return image
