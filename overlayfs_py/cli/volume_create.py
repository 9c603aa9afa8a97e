"""`overlayfs-py volume create`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.backends.option_values import OptionError
from overlayfs_py.cli.store_arguments import open_store, root_option

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_HELP = """Make a volume, and print its name; without NAME one is made up. One that is there stays.

\b
Examples:
  overlayfs-py volume create data
  overlayfs-py volume create --label project=web data
  overlayfs-py volume create -o type=none -o o=bind -o device=/srv/data data
"""
_ONLY = "only a directory of the host: -o type=none -o o=bind[,ro] -o device=/DIRECTORY"
_WORDS = frozenset({"bind", "rbind", "ro", "rw"})


@click.command("create", help=_HELP)
@root_option
@click.option("-d", "--driver", default="local", help="local; there is no other.")
@click.option("--label", "labels", multiple=True, metavar="KEY[=VALUE]", help="Say more of it.")
@click.option(
    "-o",
    "--opt",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="Docker's for a directory of the host: type=none, o=bind, device=/DIRECTORY.",
)
@click.argument("name", required=False)
def command(
    root: Path | None,
    driver: str,
    labels: tuple[str, ...],
    options: tuple[str, ...],
    name: str | None,
) -> None:
    from overlayfs_py.store import volumes
    from overlayfs_py.store.containers import NAME

    if driver != "local":
        raise OptionError("--driver", f"{driver}: there is only local")
    if name is not None and NAME.fullmatch(name) is None:
        why = "a volume's name is at least two letters, digits, dots, dashes or underscores"
        raise OptionError("NAME", f"{name!r}: {why}")
    bound = _bound(options)
    store = open_store(root, create=True)
    record = store.volumes.create(
        name or volumes.new_name(),
        labels=dict(label.partition("=")[::2] for label in labels),
        anonymous=name is None,
        options=bound,
    )
    click.echo(record.name)


def _bound(texts: Iterable[str]) -> dict[str, str]:
    """The options of docker's local driver for a directory of the host's; none, where none are."""
    found = dict(text.partition("=")[::2] for text in texts)
    if not found:
        return found
    words = set(found.get("o", "").split(","))
    device = found.get("device", "")
    is_bind = (
        words <= _WORDS and words & {"bind", "rbind"} and found.get("type") in {"none", "bind"}
    )
    if set(found) != {"type", "o", "device"} or not is_bind or not _is_place(device):
        raise OptionError("--opt", f"{' '.join(texts)}: {_ONLY}")
    return found


def _is_place(device: str) -> bool:
    return device.startswith("/") and "\0" not in device
