"""`overlayfs-py push`, also `image push`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from overlayfs_py.cli.registries import (
    RegistryArguments,
    RegistryCommand,
    Truth,
    client_options,
    content_trust_option,
    registry_options,
    run_async,
)
from overlayfs_py.cli.store_arguments import IMAGE, open_store, root_option
from overlayfs_py.image.errors import BadReference

if TYPE_CHECKING:
    from overlayfs_py.cli.watching import Shown
    from overlayfs_py.image.manifest import Index, Manifest
    from overlayfs_py.image.reference import Reference
    from overlayfs_py.registry.client import ClientOptions
    from overlayfs_py.transfer.push import PushOptions

_HELP = """Bring an image from the store to a registry.

DESTINATION is the image's own name if it is not given. What the registry has is not sent again. An
image that was pulled keeps its digest: layers are taken from where they were pulled from if they
cannot be made again byte for byte. If that is gone, --recompress pushes the image with a new one.
Of an image for several platforms goes the one that is here; with --all-platforms all go, from where
it was pulled, under the digest that it was pulled by.

With --packs the layers go a second time, as packs that others fetch parts of: `pull --lazy`.

--tls-verify is for the registry that is pushed to, --src-tls-verify for those of the layers.

\b
Examples:
  overlayfs-py push registry.example.com/team/app:1
  overlayfs-py push --packs --order used.json registry.example.com/team/app:1
  overlayfs-py push --all-platforms debian:12 registry.example.com/mirror/debian:12
  overlayfs-py push --tls-verify=false debian:12 localhost:5000/mirror/debian:12
"""


@click.command("push", cls=RegistryCommand, help=_HELP)
@root_option
@click.option("--recompress", is_flag=True, help="Compress anew what is to be had no more.")
@click.option("--all-platforms", is_flag=True, help="Push what was pulled for all platforms.")
@click.option("-q", "--quiet", is_flag=True, help="Print only the manifest's digest.")
@click.option("--json", "as_json", is_flag=True, help="Print what happens as lines of JSON.")
@content_trust_option
@registry_options
@click.option(
    "--src-tls-verify",
    type=Truth(),
    help="The same for registries that layers come from.  [default: true]",
)
@click.option(
    "--packs", is_flag=True, help="Push packs of its layers beside it, for `pull --lazy`."
)
@click.option(
    "--order",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="With --packs: what `run --trace FILE` wrote; that comes first then.",
)
@click.argument("image", type=IMAGE)
@click.argument("destination", required=False, type=IMAGE)
def command(
    root: Path | None,
    authfile: Path | None,
    cert_dir: Path | None,
    image: str,
    destination: str | None,
    *,
    recompress: bool,
    packs: bool,
    order: Path | None,
    all_platforms: bool,
    quiet: bool,
    as_json: bool,
    tls_verify: bool | None,
    src_tls_verify: bool | None,
) -> None:
    from overlayfs_py.cli.watching import watching
    from overlayfs_py.transfer.push import PushOptions

    if all_platforms and recompress:
        raise click.UsageError("--recompress changes the image, --all-platforms pushes it as it is")
    if all_platforms and packs:
        raise click.UsageError("--packs is for the one image that is here, without --all-platforms")
    if order is not None and not packs:
        raise click.UsageError("--order goes with --packs")
    beside = None if not packs else _Beside([] if order is None else _used(order))
    reference = _destination(destination or image)
    if destination is None:
        _require_name(root, image, reference)
    told = client_options(RegistryArguments(authfile, cert_dir, src_tls_verify))
    options = options_for_target(told, reference, tls_verify)
    with watching(quiet=quiet, as_json=as_json) as shown:
        how = None if all_platforms else PushOptions(recompress)
        pushed = _push(root, image, reference, options, how, shown, beside)
    if as_json:
        click.echo(json.dumps({"reference": reference.canonical, "digest": pushed.digest}))
    elif quiet:
        click.echo(pushed.digest)


def options_for_target(
    options: ClientOptions, reference: Reference, tls_verify: bool | None
) -> ClientOptions:
    """The options, with what is said of TLS for the registry that is pushed to, and no other.

    Registries on this machine are none that somebody could stand before.
    """
    from dataclasses import replace

    from overlayfs_py.registry.proxies import is_loopback

    target = options.configuration.push_location(reference).domain

    def of(domain: str) -> bool | None:
        host = domain.rpartition(":")[0] or domain
        return tls_verify if domain == target or is_loopback(host.strip("[]")) else None

    return replace(options, tls_verify_of=of)


class _Beside(NamedTuple):
    """What goes beside the image."""

    used: list[tuple[bytes, ...]]  # paths of files that a first run has read, in that order


def _used(path: Path) -> list[tuple[bytes, ...]]:
    from overlayfs_py.drivers.written_uses import read_lines

    with path.open("rb") as lines:
        uses = read_lines(lines).uses
    return [
        tuple(name for name in use.path.split(b"/") if name) for use in uses if "read" in use.kinds
    ]


def _push(
    root: Path | None,
    image: str,
    reference: Reference,
    options: ClientOptions,
    how: PushOptions | None,
    shown: Shown,
    beside: _Beside | None,
) -> Manifest | Index:
    """Push the image, or without options its index."""
    from overlayfs_py.cli.whole_images import use_whole_image
    from overlayfs_py.registry.client import RegistryClient
    from overlayfs_py.transfer.index_push import push_index
    from overlayfs_py.transfer.pack_push import push_packs
    from overlayfs_py.transfer.push import push

    store = open_store(root, to_find=image)
    # Its layers must not go while they are read.
    stored, layers = use_whole_image(store, image, shown)

    async def work() -> Manifest | Index:
        async with RegistryClient(options) as client:
            if how is None:
                return await push_index(store, client, stored, reference, shown)
            manifest = await push(store, client, stored, reference, how, shown)
            if beside is not None:
                once = stored.layers_once
                await push_packs(store, client, once, manifest, reference, shown, beside.used)
            return manifest

    with layers:
        return run_async(work)


def _require_name(root: Path | None, image: str, reference: Reference) -> None:
    """Push where an image's own name says, not where the beginning of an ID seems to say."""
    names = open_store(root, to_find=image).image(image).references
    if reference.canonical not in names:
        known = ", ".join(names) or "nothing"
        raise BadReference(image, f"the image is called {known}: say where to push to")


def _destination(text: str) -> Reference:
    from overlayfs_py.image.reference import parse_reference

    reference = parse_reference(text).with_default_tag()
    if reference.tag is None or reference.digest is not None:
        raise BadReference(text, "where to push to is a name with a tag, without a digest")
    return reference
