"""`overlayfs-py save`."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.arguments import PATH
from overlayfs_py.cli.outputs import STDOUT, output_directory, output_file
from overlayfs_py.cli.store_arguments import IMAGE, open_store, root_option
from overlayfs_py.errors import Failure

if TYPE_CHECKING:
    from overlayfs_py.image.reference import Reference
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.store import Store
    from overlayfs_py.transfer.save import Wanted

_FORMATS = ("docker-archive", "oci-archive", "oci-dir")
_HELP = """Write images to an archive, which `load`, docker, podman and skopeo read.

Layers that several of the images share are in it once. Images keep their IDs; layers are written
uncompressed. What `pull --keep-blobs` kept goes into OCI's formats as it came, with the manifest
that it came with. A repository without a tag is all its tags.

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
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Only if it is an image for that.")
@click.argument("images", nargs=-1, required=True, type=IMAGE)
def command(
    root: Path | None,
    images: tuple[str, ...],
    target: str | None,
    form: str,
    platform: str | None,
) -> None:
    from overlayfs_py.transfer.save import save_docker, save_oci
    from overlayfs_py.transfer.sinks import DirectorySink, TarSink

    if target is None and form == "oci-dir":
        raise Failure("oci-dir: a directory is needed, with -o")
    if target is None and sys.stdout.isatty():
        raise Failure("stdout: a terminal; name an archive with -o")
    store = open_store(root, to_find=images[0])
    with ExitStack() as stack:
        wanted = _wanted(store, images, platform, stack)
        if form == "oci-dir":
            assert target is not None
            staged = stack.enter_context(output_directory(Path(target)))
            save_oci(wanted, DirectorySink(staged), store.open_blob)
            staged.chmod(0o777 & ~_umask())
            return
        out = stack.enter_context(output_file(Path(target or STDOUT)))
        sink = TarSink(out.write)
        if form == "docker-archive":
            save_docker(wanted, sink)
        else:
            save_oci(wanted, sink, store.open_blob)


def _umask() -> int:
    """What new files do not get; the system tells it only by taking another one."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _wanted(store: Store, names: tuple[str, ...], platform: str | None, stack: ExitStack) -> Wanted:
    """The images, which stay until the stack is closed."""
    from overlayfs_py.cli.whole_images import use_whole_image
    from overlayfs_py.transfer.save import Wanted

    wanted = Wanted()
    for name in names:
        for meant in _all_tags(store, name) or [name]:
            image, layers = use_whole_image(store, meant)
            stack.enter_context(layers)
            _require_platform(image, meant, platform)
            wanted.add(image, _reference(meant, image.references))
    return wanted


def _all_tags(store: Store, name: str) -> list[str]:
    """The tags of a repository that was named without one: docker saves them all."""
    from overlayfs_py.image.errors import BadReference
    from overlayfs_py.image.reference import parse_reference

    try:
        reference = parse_reference(name)
    except BadReference:
        return []
    if reference.tag is not None or reference.digest is not None:
        return []
    known = [tag for image in store.images() for tag in image.references]
    return sorted(tag for tag in known if tag.rpartition(":")[0] == reference.repository)


def _require_platform(image: StoredImage, name: str, platform: str | None) -> None:
    from overlayfs_py.image.errors import NoSuchPlatform
    from overlayfs_py.image.platform import parse_platform, runs_on

    if platform is not None and not runs_on(image.config.platform, parse_platform(platform)):
        raise NoSuchPlatform(f"{name}: {platform}", str(image.config.platform))


def _reference(name: str, known: tuple[str, ...]) -> Reference | None:
    """The name that an image was asked for by; None if that was an ID."""
    from overlayfs_py.image.errors import BadReference
    from overlayfs_py.image.reference import has_domain, parse_reference

    try:
        reference = parse_reference(name).with_default_tag()
    except BadReference:
        return None
    if reference.canonical in known:
        return reference
    # A name without a host may have meant the image of another registry.
    ending = f"/{reference.familiar}"
    found = [] if has_domain(name) else [each for each in known if each.endswith(ending)]
    return parse_reference(found[0]) if found else None
