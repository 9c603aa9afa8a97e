"""`overlayfs-py save`."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.arguments import PATH
from overlayfs_py.cli.store_arguments import IMAGE, open_store, root_option
from overlayfs_py.errors import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from overlayfs_py.image.reference import Reference
    from overlayfs_py.store.store import Store
    from overlayfs_py.transfer.save import Wanted

_FORMATS = ("docker-archive", "oci-archive", "oci-dir")
_HELP = """Write images to an archive, which `load`, docker, podman and skopeo read.

Layers that several of the images share are in it once. Images keep their IDs; layers are written
uncompressed. What `pull --keep-blobs` kept goes into OCI's formats as it came, with the manifest
that it came with.

\b
Examples:
  overlayfs-py save -o debian.tar debian:12
  overlayfs-py save debian:12 python:3 | gzip > images.tar.gz
  overlayfs-py save --format oci-dir -o layout debian:12
"""


@click.command("save", help=_HELP)
@root_option
@click.option("-o", "--output", "target", type=PATH, help="The archive; otherwise stdout.")
@click.option(
    "--format", "form", type=click.Choice(_FORMATS), default=_FORMATS[0], show_default=True
)
@click.argument("images", nargs=-1, required=True, type=IMAGE)
def command(root: Path | None, images: tuple[str, ...], target: str | None, form: str) -> None:
    from overlayfs_py.transfer.save import save_docker, save_oci
    from overlayfs_py.transfer.sinks import DirectorySink, TarSink

    if target is None and form == "oci-dir":
        raise Failure("oci-dir: a directory is needed, with -o")
    if target is None and sys.stdout.isatty():
        raise Failure("stdout: a terminal; name an archive with -o")
    store = open_store(root)
    with ExitStack() as stack:
        wanted = _wanted(store, images, stack)
        if form == "oci-dir":
            assert target is not None
            save_oci(wanted, DirectorySink(Path(target)), store.open_blob)
            return
        sink = TarSink(stack.enter_context(_output(target)).write)
        if form == "docker-archive":
            save_docker(wanted, sink)
        else:
            save_oci(wanted, sink, store.open_blob)


def _wanted(store: Store, names: tuple[str, ...], stack: ExitStack) -> Wanted:
    """The images, which stay until the stack is closed."""
    from overlayfs_py.transfer.save import Wanted

    wanted = Wanted()
    for name in names:
        image, layers = store.use_image(name)
        stack.enter_context(layers)
        wanted.add(image, _reference(name, image.references))
    return wanted


def _reference(name: str, known: tuple[str, ...]) -> Reference | None:
    """The name that an image was asked for by; None if that was an ID."""
    from overlayfs_py.image.errors import BadReference
    from overlayfs_py.image.reference import parse_reference

    try:
        reference = parse_reference(name).with_default_tag()
    except BadReference:
        return None
    return reference if reference.canonical in known else None


@contextmanager
def _output(target: str | None) -> Iterator[BinaryIO]:
    """Where to write. A file appears under its name when all of it is there, not before."""
    if target is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if os.path.exists(target) and not os.path.isfile(target):
        with open(target, "wb") as stream:  # a FIFO, /dev/stdout
            yield stream
        return
    temporary = f"{target}.{os.getpid()}.tmp"
    try:
        with open(temporary, "xb") as stream:
            yield stream
        os.rename(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):  # it could not be made
            os.unlink(temporary)
        raise
