"""`overlayfs-py chroot`."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import click

from overlayfs_py.backends.mount_options import OptionError
from overlayfs_py.backends.option_values import parse_size, parse_volume
from overlayfs_py.cli import base_stack, run_arguments
from overlayfs_py.cli.arguments import PATH, driver_option
from overlayfs_py.cli.run_arguments import CANNOT_START
from overlayfs_py.cli.store_arguments import LAYERS, root_option
from overlayfs_py.cli.temporary import temporary_directory
from overlayfs_py.containers.throwaway import Run, run
from overlayfs_py.errors import Failure, OverlayError, describe, exit_code_of
from overlayfs_py.mounts.daemon import open_descriptors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from overlayfs_py.cli.base_stack import BaseStack
    from overlayfs_py.containers.tmpfs import Tmpfs
    from overlayfs_py.union.values import Volume

_HELP = """Run CMD (or /bin/sh) in an image or a stack of layers, and throw its changes away.

LAYER is a directory or a pack; several are separated by colons, topmost first, and an image may
come last. ./NAME is a path, image=NAME an image; any other NAME is an image if the store has it,
or else a path. The image's environment, user and working directory hold unless -e, -u and -w say
otherwise; without CMD its own command is run.

CMD sees that as its root, with /proc, /dev and /sys. What it writes goes to a temporary directory,
and away when it ends, however it ends. Its exit status is ours. Root is not needed: an ordinary
user becomes root of a user namespace.

\b
Examples:
  overlayfs-py chroot debian
  overlayfs-py chroot patch:debian -v "$PWD:/src" -w /src -- make test
  overlayfs-py chroot debian --keep work -- apt-get install -y hello
  overlayfs-py chroot --pull missing python:3 -- python3 -c 'print(1)'
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
    help="Show the host's directory or file HOST at PATH; what is written there stays.",
)
@click.option(
    "-e",
    "--env",
    "variables",
    multiple=True,
    metavar="K[=V]",
    help="Set an environment variable; without V to the caller's value.",
)
@click.option(
    "--env-file",
    "variable_files",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Set the variables that FILE has, one a line.",
)
@click.option("-w", "--workdir", "directory", metavar="DIR", help="Start in DIR (inside).")
@click.option(
    "-u",
    "--user",
    metavar="USER[:GROUP]",
    help="Run as this user of the image, by name or number.  [default: the image's, or root]",
)
@click.option("--entrypoint", metavar="PROGRAM", help="Run this instead of the image's.")
@click.option("--hostname", metavar="NAME", help="The host name inside.  [default: random]")
@click.option(
    "-t", "--tty", "terminal", is_flag=True, help="A terminal, even if stdin and stdout are none."
)
@click.option("-i", "--interactive", is_flag=True, help="Accepted for docker: it is always so.")
@click.option("--rm", "thrown_away", is_flag=True, help="Accepted for docker: it is always so.")
@click.option("--read-only", is_flag=True, help="Nothing but volumes and tmpfs can be written to.")
@click.option(
    "--tmpfs",
    "tmpfs",
    multiple=True,
    metavar="PATH[:OPTIONS]",
    help="An empty directory in memory at PATH.",
)
@click.option(
    "--privileged",
    is_flag=True,
    help="Give root all its rights; /proc and /sys are writable, devices work.",
)
@click.option(
    "--keep",
    metavar="DIR",
    type=PATH,
    help="Write to DIR/upper and keep it; a second run goes on from there.",
)
@click.option(
    "--upper-limit",
    metavar="BYTES",
    help="What CMD's files may take beside the layers' and volumes; with k, m or g.",
)
@click.option(
    "--pull",
    "when_to_pull",
    type=click.Choice(["never", "missing", "always"]),
    default="never",
    show_default=True,
    help="When to bring the image from its registry.",
)
@driver_option
@root_option
@click.argument("layers", metavar="IMAGE|LAYER[:LAYER...][:IMAGE]", type=LAYERS)
@click.argument("words", metavar="[--] [CMD...]", nargs=-1, type=click.UNPROCESSED)
def command(
    layers: str,
    words: tuple[str, ...],
    volumes: tuple[str, ...],
    variables: tuple[str, ...],
    variable_files: tuple[Path, ...],
    directory: str | None,
    user: str | None,
    entrypoint: str | None,
    hostname: str | None,
    tmpfs: tuple[str, ...],
    keep: str | None,
    upper_limit: str | None,
    when_to_pull: str,
    driver: str,
    root: Path | None,
    *,
    terminal: bool,
    interactive: bool,
    thrown_away: bool,
    read_only: bool,
    privileged: bool,
) -> int:
    callers_fds = open_descriptors()
    try:
        base = _find_base(layers, root, when_to_pull)
        environment = run_arguments.environment_of(base, variable_files, variables)
        process = run_arguments.process_of(
            base, words, environment, directory=directory, user=user, entrypoint=entrypoint
        )
        asked = Run(
            layers=base.layers,
            process=process,
            temporary=temporary_directory(),
            hostname=run_arguments.hostname_of(hostname, secrets.token_hex(6)),
            volumes=tuple(map(_parse_volume, volumes)),
            keep=None if keep is None else os.fsencode(keep),
            driver=driver,
            callers_fds=callers_fds,
            terminal=terminal,
            privileged=privileged,
            read_only=read_only,
            tmpfs=tuple(map(_parse_tmpfs, tmpfs)),
            upper_limit=None if upper_limit is None else _parse_limit(upper_limit),
        )
        return run(asked)
    except OSError as error:
        if exit_code_of(error) != OverlayError.exit_code:
            raise
        # One that no command means by it.
        raise Failure(describe(error), CANNOT_START) from error


def _find_base(text: str, root: Path | None, when_to_pull: str) -> BaseStack:
    from overlayfs_py.cli import pulling

    def find(name: str) -> BaseStack | None:
        return base_stack.find_in_store(name, root)

    if when_to_pull == "never":
        return base_stack.find_base(text, find)
    return pulling.find_or_pull(text, find, root, always=when_to_pull == "always")


def _parse_volume(text: str) -> Volume:
    try:
        return parse_volume(text)
    except ValueError as error:
        raise OptionError("-v", str(error)) from None


def _parse_limit(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise OptionError("--upper-limit", str(error)) from None


def _parse_tmpfs(text: str) -> Tmpfs:
    from overlayfs_py.cli.mount_arguments import parse_tmpfs
    from overlayfs_py.containers import tmpfs

    mount = parse_tmpfs(text)
    return tmpfs.Tmpfs.parse(os.fsencode(mount.target), mount.options)
