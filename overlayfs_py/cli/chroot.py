"""`overlayfs-py chroot`."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

import click

from overlayfs_py.backends.mount_options import OptionError, split_list
from overlayfs_py.backends.option_values import parse_volume
from overlayfs_py.cli.arguments import PATH, driver_option
from overlayfs_py.containers.failure import Failure, failure_of
from overlayfs_py.containers.throwaway import Run, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from overlayfs_py.union.values import Volume

CANNOT_START = 125  # what failed is ours, not the command: as GNU chroot and docker have it
_DEFAULT_COMMAND = ("/bin/sh",)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_HELP = """Run CMD (or /bin/sh) in a stack of layers, and throw its changes away.

LAYER is a directory; several are separated by colons, topmost first. CMD sees them as its root,
with /proc, /dev and /sys. What it writes goes to a temporary directory, and away when it ends,
however it ends. Its exit status is ours. Root is not needed: an ordinary user becomes root of a
user namespace. This hides the host's files from CMD; against a hostile CMD run by root it
protects nothing.

\b
Examples:
  overlayfs-py chroot debian
  overlayfs-py chroot patch:debian -v "$PWD:/src" -w /src -- make test
  overlayfs-py chroot debian --keep work -- apt-get install -y hello
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
@click.option(
    "-w", "--workdir", "directory", default="/", metavar="DIR", help="Start in DIR (inside)."
)
@click.option(
    "--keep",
    metavar="DIR",
    type=PATH,
    help="Write to DIR/upper and keep it; a second run goes on from there.",
)
@driver_option
@click.argument("layers", metavar="LAYER[:LAYER...]", type=PATH)
@click.argument("words", metavar="[--] [CMD...]", nargs=-1, type=click.UNPROCESSED)
def command(
    layers: str,
    words: tuple[str, ...],
    volumes: tuple[str, ...],
    variables: tuple[str, ...],
    directory: str,
    keep: str | None,
    driver: str,
) -> int:
    asked = Run(
        layers=_parse_layers(layers),
        command=words or _DEFAULT_COMMAND,
        environment=_environment(variables),
        temporary=os.fsencode(tempfile.gettempdir()),
        volumes=tuple(map(_parse_volume, volumes)),
        directory=directory,
        keep=None if keep is None else os.fsencode(keep),
        driver=driver,
    )
    try:
        return run(asked)
    except OSError as error:
        raise _not_the_commands(failure_of(error)) from error
    except Failure as failure:
        raise _not_the_commands(failure) from failure


def _not_the_commands(failure: Failure) -> Failure:
    """Return the failure with an exit code that no command means by it."""
    return Failure(str(failure), CANNOT_START) if failure.exit_code == 1 else failure


def _parse_layers(text: str) -> tuple[bytes, ...]:
    layers = tuple(os.fsencode(part) for part in split_list(text) if part)
    if not layers:
        raise OptionError("LAYER", "at least one is needed")
    return layers


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
