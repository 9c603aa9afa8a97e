"""`overlayfs-py cp`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple

import click

from overlayfs_py.cli.container_arguments import CONTAINER
from overlayfs_py.cli.store_arguments import open_store, root_option
from overlayfs_py.errors import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from overlayfs_py.containers.copying import InContainer, Write
    from overlayfs_py.store.store import Store

_HELP = """Copy a file or a directory out of a container, or into one, whether it runs or not.

A path that ends in /. means what is in the directory; `-` is a tar on stdin or stdout. Volumes are
the container's, too. What goes in belongs to root there, what comes out to you.

\b
Examples:
  overlayfs-py cp web:/var/log/nginx logs
  overlayfs-py cp site/. web:/usr/share/nginx/html
  tar -c data | overlayfs-py cp - web:/srv
"""
_STREAM = "-"
_CHUNK_BYTES = 1 << 18


class _Argument(NamedTuple):
    container: str  # empty: a path of the host
    path: str


@click.command("cp", help=_HELP)
@root_option
@click.option("-a", "--archive", is_flag=True, help="Keep owners, and set-user-ID bits.")
@click.option("-L", "--follow-link", "follows", is_flag=True, help="Follow a link at SOURCE.")
@click.option("-q", "--quiet", is_flag=True, help="Do not say how much was copied.")
@click.argument("source", metavar="[CONTAINER:]SOURCE|-", type=CONTAINER)
@click.argument("destination", metavar="[CONTAINER:]DESTINATION|-", type=CONTAINER)
def command(
    root: Path | None, source: str, destination: str, *, archive: bool, follows: bool, quiet: bool
) -> None:
    given, to = _parsed(source), _parsed(destination)
    if given.container and to.container:
        raise click.UsageError("copying between containers is not offered: go through `-`")
    if not given.container and not to.container:
        raise click.UsageError("one of the two must be CONTAINER:PATH")
    store = open_store(root)
    if given.container:
        place = _in_container(store, given)
        size = _copy_out(place, to.path, follow=follows, archive=archive)
    else:
        place = _in_container(store, to)
        size = _copy_in(given.path, place, follow=follows, archive=archive)
    if not quiet and destination != _STREAM and sys.stderr.isatty():
        from overlayfs_py.image.units import human_size

        click.echo(f"Successfully copied {human_size(size)} to {destination}", err=True)


def _parsed(text: str) -> _Argument:
    """Tell a container's path from one of the host, as docker does."""
    if text.startswith(("/", ".")) or ":" not in text:
        return _Argument("", text)
    container, _, path = text.partition(":")
    return _Argument(container, path)


def _in_container(store: Store, argument: _Argument) -> InContainer:
    from overlayfs_py.containers.copying import InContainer

    record = store.containers.get(argument.container)
    return InContainer(store, record, os.fsencode(argument.path))


def _copy_out(source: InContainer, path: str, *, follow: bool, archive: bool) -> int:
    from overlayfs_py.containers.copying import End, copy_out
    from overlayfs_py.containers.tree_files import Kept

    if path == _STREAM:
        if sys.stdout.isatty():
            raise Failure("stdout: a tar is not for a terminal")
        return copy_out(source, _show, follow=follow)
    is_root = os.geteuid() == 0
    if archive and not is_root:
        click.echo("overlayfs-py: -a: only root can keep owners", err=True)
    kept = Kept(owner=archive and is_root, rights=archive)
    here = End.here(os.fsencode(path))
    return copy_out(source, lambda blocks: here.fill(blocks, kept), follow=follow)


def _show(blocks: Iterable[bytes]) -> int:
    for block in blocks:
        sys.stdout.buffer.write(block)
    sys.stdout.buffer.flush()
    return 0


def _copy_in(path: str, to: InContainer, *, follow: bool, archive: bool) -> int:
    from overlayfs_py.containers.copying import End, copy_in
    from overlayfs_py.containers.tree_tar import write_tar

    if path == _STREAM:
        return copy_in(_pass_on, to, keep_owners=archive, unpacked=True)
    found = End.here(os.fsencode(path)).source(follow=follow)
    return copy_in(lambda write: write_tar(found, write), to, keep_owners=archive)


def _pass_on(write: Write) -> None:
    from overlayfs_py.tars.compression import LayerStream

    for block in LayerStream(_stdin()):
        write(block)


def _stdin() -> Iterator[bytes]:
    while block := os.read(sys.stdin.fileno(), _CHUNK_BYTES):
        yield block
