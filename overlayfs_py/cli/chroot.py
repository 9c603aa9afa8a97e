"""`overlayfs-py chroot`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import click

from overlayfs_py.backends.mount_options import OptionError, split_list
from overlayfs_py.backends.option_values import parse_volume
from overlayfs_py.cli.arguments import PATH, driver_option
from overlayfs_py.cli.store_arguments import LAYERS, root_option
from overlayfs_py.cli.temporary import temporary_directory
from overlayfs_py.containers.throwaway import Run, run
from overlayfs_py.errors import Failure, OverlayError, describe, exit_code_of
from overlayfs_py.mounts.daemon import open_descriptors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from overlayfs_py.union.values import Volume

CANNOT_START = 125  # what failed is ours, not the command: as GNU chroot and docker have it
_DEFAULT_COMMAND = ("/bin/sh",)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_HELP = """Run CMD (or /bin/sh) in a stack of layers or an image, and throw its changes away.

LAYER is a directory or a pack; several are separated by colons, topmost first. What is no path is
an image in the store; its environment and working directory hold unless -e and -w say otherwise,
and without CMD its own command is run.

CMD sees that as its root, with /proc, /dev and /sys. What it writes goes to a temporary directory,
and away when it ends, however it ends. Its exit status is ours. Root is not needed: an ordinary
user becomes root of a user namespace. This hides the host's files from CMD; against a hostile CMD
run by root it protects nothing.

\b
Examples:
  overlayfs-py chroot debian
  overlayfs-py chroot patch:debian -v "$PWD:/src" -w /src -- make test
  overlayfs-py chroot debian --keep work -- apt-get install -y hello
  overlayfs-py chroot python:3 -- python3 -c 'print(1)'
"""


class _CommandLine(click.Command):
    """Takes options before and after LAYER; all from CMD on is CMD's, dashes too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self._layer_last(args))

    def _layer_last(self, args: list[str]) -> list[str]:
        """Put our options before LAYER, and `--` between."""
        end = self._options_end(args)
        if end >= len(args) or args[end] == "--":
            return args
        layer, rest = args[end], args[end + 1 :]
        rest_end = self._options_end(rest)
        words = rest[rest_end:]
        if words[:1] == ["--"]:
            words = words[1:]
        return [*args[:end], *rest[:rest_end], "--", layer, *words]

    def _options_end(self, args: Sequence[str]) -> int:
        """Return where the first word stands that is neither an option nor an option's value."""
        with_value = {
            name
            for option in self.params
            if isinstance(option, click.Option) and not option.is_flag
            for name in option.opts
        }
        position = 0
        while position < len(args) and args[position].startswith("-") and args[position] != "--":
            position += 2 if args[position] in with_value else 1
        return position


@click.command("chroot", cls=_CommandLine, help=_HELP)
@click.option(
    "-v",
    "--volume",
    "volumes",
    multiple=True,
    metavar="HOST:PATH[:ro]",
    help="Show the host directory HOST at PATH; what is written there stays.",
)
@click.option(
    "-e", "--env", "variables", multiple=True, metavar="K=V", help="Set an environment variable."
)
@click.option("-w", "--workdir", "directory", metavar="DIR", help="Start in DIR (inside).")
@click.option(
    "--keep",
    metavar="DIR",
    type=PATH,
    help="Write to DIR/upper and keep it; a second run goes on from there.",
)
@driver_option
@root_option
@click.argument("layers", metavar="IMAGE|LAYER[:LAYER...]", type=LAYERS)
@click.argument("words", metavar="[--] [CMD...]", nargs=-1, type=click.UNPROCESSED)
def command(
    layers: str,
    words: tuple[str, ...],
    volumes: tuple[str, ...],
    variables: tuple[str, ...],
    directory: str | None,
    keep: str | None,
    driver: str,
    root: Path | None,
) -> int:
    callers_fds = open_descriptors()
    base = _find_base(layers, root)
    try:
        asked = Run(
            layers=base.layers,
            command=words or base.command or _DEFAULT_COMMAND,
            environment=_environment((*base.environment, *variables)),
            temporary=temporary_directory(),
            volumes=tuple(map(_parse_volume, volumes)),
            directory=directory or base.directory or "/",
            keep=None if keep is None else os.fsencode(keep),
            driver=driver,
            callers_fds=callers_fds,
        )
        return run(asked)
    except OSError as error:
        if exit_code_of(error) != OverlayError.exit_code:
            raise
        # One that no command means by it.
        raise Failure(describe(error), CANNOT_START) from error


class _Base(NamedTuple):
    """What to run on, and how, if nobody says otherwise."""

    layers: tuple[bytes, ...]  # topmost first
    environment: tuple[str, ...] = ()
    directory: str = ""
    command: tuple[str, ...] = ()


def _find_base(text: str, root: Path | None) -> _Base:
    """The layers that `text` names; an image's, where it names no path."""
    layers = tuple(os.fsencode(part) for part in split_list(text) if part)
    if not layers:
        raise OptionError("LAYER", "at least one is needed")
    if os.path.exists(layers[0]) or os.path.exists(os.fsencode(text)):
        return _Base(layers)
    found = _image_base(text, root)
    if found is None and "/" not in text:
        raise Failure(f"{text}: neither a layer nor an image of the store", CANNOT_START)
    return found or _Base(layers)


def _image_base(text: str, root: Path | None) -> _Base | None:
    from overlayfs_py.cli.store_arguments import open_store
    from overlayfs_py.store.failures import NotInStore

    try:
        # The image stays as long as this process, and those that it forks.
        image, layers = open_store(root).use_image(text)
    except NotInStore:
        return None
    run = image.config.run
    return _Base(
        layers.lower,
        run.env or (),
        run.working_dir,
        (*(run.entrypoint or ()), *(run.cmd or ())),
    )


def _parse_volume(text: str) -> Volume:
    try:
        return parse_volume(text)
    except ValueError as error:
        raise OptionError("-v", str(error)) from None


def _environment(variables: Sequence[str]) -> dict[str, str]:
    """Return the command's whole environment: the host's means nothing in there."""
    environment = {"PATH": _PATH, "HOME": "/root"}
    if "TERM" in os.environ:
        environment["TERM"] = os.environ["TERM"]
    for variable in variables:
        name, equals, value = variable.partition("=")
        if not name or not equals:
            raise OptionError("-e", f"{variable}: not of the form K=V")
        environment[name] = value
    return environment
