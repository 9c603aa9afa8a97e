"""Which store a command works on, and which image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from overlayfs_py.errors import OverlayError
from overlayfs_py.late_import import late_pattern

if TYPE_CHECKING:
    from overlayfs_py.store.store import Store


_PLAIN = late_pattern(r"[\w./+-]+")


def default_root() -> Path:
    """Where a person's store is: below XDG's directory for data."""
    from overlayfs_py.store import places

    return places.default_root(os.environ)


def open_store(root: Path | None, *, create: bool = False, to_find: str | None = None) -> Store:
    """Open the store that `--root` names, where a command that only reads makes none.

    Without `--root` it is the person's own, made by the first command.

    Raises:
        NotInStore: there is no store to find the image `to_find` in.
        NoStore: there is none, and `create` is false.
    """
    from overlayfs_py.store.failures import NoStore, NotInStore
    from overlayfs_py.store.store import Store

    try:
        return Store.open(root or default_root(), create=create or root is None)
    except NoStore as error:
        if to_find is None:
            raise
        raise NotInStore(to_find, "image") from error


def find_store(root: Path | None) -> Store | None:
    """Open the store that `--root` names, for a list; None, and a word, where there is none."""
    from overlayfs_py.store.failures import NoStore

    try:
        return open_store(root)
    except NoStore as error:
        click.echo(f"overlayfs-py: {error}", err=True)
        return None


root_option = click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False),
    help="The store.  [default: $XDG_DATA_HOME/overlayfs-py]",
)


layers_option = click.option(
    "--layers",
    "form",
    type=click.Choice(["pack", "dir"]),
    default="pack",
    show_default=True,
    help="How the store keeps the layers that come.",
)


def completed_images(root: Path | None, incomplete: str) -> list[str]:
    """The names of the store that begin so; none where there is no store to read."""
    from overlayfs_py.image.reference import parse_reference

    root = default_root() if root is None else root
    if not root.is_dir():
        return []
    try:
        references = open_store(root).references()
    except (OverlayError, OSError):
        return []  # a shell that waits for names has no place for a reason
    names = (parse_reference(name).familiar for name in references)
    return sorted(name for name in names if name.startswith(incomplete))


class ImageName(click.ParamType[str]):
    """An image by its name or ID; TAB completes the names that the store has."""

    name = "image"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(name) for name in completed_images(_root_of(ctx), incomplete)]


class LayersOrImage(click.ParamType[str]):
    """Layers between colons, any of which may be an image; TAB completes both."""

    name = "layers"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        root = _root_of(ctx)
        found = completed_images(root, incomplete)
        above, colon, last = incomplete.rpartition(":")
        if colon and not found:
            found = [f"{above}:{name}" for name in completed_images(root, last)]
        if not found:
            return [CompletionItem(incomplete, type="file")]
        paths = [f"{above}{colon}{path}" for path in _directories(last)]
        return [CompletionItem(word) for word in [*found, *paths]]


def _root_of(ctx: click.Context) -> Path | None:
    root = ctx.params.get("root")
    return None if root is None else Path(root)


def _directories(beginning: str) -> list[str]:
    """The directories that begin so, as far as no shell would want their names quoted."""
    import glob  # for the TAB key alone

    found = (f"{path}/" for path in glob.iglob(f"{glob.escape(beginning)}*/"))
    short = {each.replace("//", "/") for each in found}
    return sorted(path for path in short if _PLAIN.fullmatch(path))


IMAGE = ImageName()
LAYERS = LayersOrImage()
