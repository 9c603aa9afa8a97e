"""Which store a command works on, and which image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from overlayfs_py.errors import OverlayError

if TYPE_CHECKING:
    from overlayfs_py.store.store import Store


def default_root() -> Path:
    """Where a person's store is: below XDG's directory for data."""
    data = os.environ.get("XDG_DATA_HOME", "")
    base = Path(data) if data.startswith("/") else Path.home() / ".local" / "share"
    return base / "overlayfs-py"


def open_store(root: Path | None) -> Store:
    """Open the store that `--root` names."""
    from overlayfs_py.store.store import Store

    return Store.open(default_root() if root is None else root)


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


class ImageName(click.ParamType[str]):
    """An image by its name or ID; TAB completes the names that the store has."""

    name = "image"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from overlayfs_py.image.reference import parse_reference

        try:
            images = open_store(ctx.params.get("root")).images()
        except (OverlayError, OSError):
            return []  # a shell that waits for names has no place for a reason
        names = (parse_reference(name).familiar for image in images for name in image.references)
        return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]


IMAGE = ImageName()
