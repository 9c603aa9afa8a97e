"""`overlayfs-py pull`, also `image pull`."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.platforms import warn_of_platform
from overlayfs_py.cli.registries import (
    RegistryArguments,
    RegistryCommand,
    client_options,
    content_trust_option,
    registry_options,
    run_async,
)
from overlayfs_py.cli.store_arguments import IMAGE, layers_option, open_store, root_option

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from overlayfs_py.cli.watching import Shown
    from overlayfs_py.image.reference import Reference
    from overlayfs_py.registry.client import ClientOptions
    from overlayfs_py.store.store import Store
    from overlayfs_py.transfer.lazy_pull import Laziness
    from overlayfs_py.transfer.pull import Pulled, PullOptions

_HELP = """Bring an image from its registry into the store.

A name without a host is what registries.conf has it mean, or else one of docker.io; a name without
a tag means `latest`. Layers that are here are not fetched again; what was fetched of a layer before
a pull broke off is used by the next. Everything is checked against its digest. Plain HTTP needs
--tls-verify=false.

With --lazy, of an image that was pushed with --packs, only the index of each layer comes now: it
can be run and mounted at once. What is read comes when it is read; the rest in the background.

\b
Examples:
  overlayfs-py pull debian:12
  overlayfs-py pull --tls-verify=false localhost:5000/team/app
  overlayfs-py pull --lazy registry.example/team/app
  overlayfs-py pull --layers dir debian:12
  overlayfs-py pull --platform linux/arm64 alpine@sha256:...
"""


def _seconds(_: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    from overlayfs_py.durations import is_duration, parse_duration

    if value is None:
        return None
    if not is_duration(value):
        raise click.BadParameter(f"{value!r} is no time as 30s or 1m30s", param=parameter)
    return parse_duration(value) / 1e9


@click.command("pull", cls=RegistryCommand, help=_HELP)
@root_option
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Of several images, which one.")
@layers_option
@click.option(
    "--keep-blobs", is_flag=True, help="Keep the compressed layers, too, for `push` and `save`."
)
@click.option(
    "--lazy",
    is_flag=True,
    help="Bring the index of layers alone; their data when it is read, and the rest later.",
)
@click.option(
    "--read-timeout",
    "wait_s",
    callback=_seconds,
    metavar="TIME",
    help="With --lazy: how long a reader waits for data.  [default: 30s]",
)
@click.option("-a", "--all-tags", is_flag=True, help="Pull all tags of the repository NAME.")
@click.option("-q", "--quiet", is_flag=True, help="Print only the image's full name.")
@click.option("--json", "as_json", is_flag=True, help="Print what happens as lines of JSON.")
@content_trust_option
@registry_options
@click.argument("name", type=IMAGE)
def command(
    root: Path | None,
    platform: str | None,
    form: str,
    authfile: Path | None,
    cert_dir: Path | None,
    name: str,
    *,
    keep_blobs: bool,
    lazy: bool,
    wait_s: float | None,
    all_tags: bool,
    quiet: bool,
    as_json: bool,
    tls_verify: bool | None,
) -> None:
    from overlayfs_py.cli.watching import watching
    from overlayfs_py.image.platform import machine_platform, parse_platform
    from overlayfs_py.image.reference import parse_reference
    from overlayfs_py.registry.short_names import candidates
    from overlayfs_py.store.records import Form
    from overlayfs_py.transfer.layer_download import Keeping
    from overlayfs_py.transfer.pull import PullOptions

    if lazy and (keep_blobs or form != "pack"):
        raise click.UsageError("--lazy brings packs alone: no --keep-blobs, no --layers dir")
    if wait_s is not None and not lazy:
        raise click.UsageError("--read-timeout goes with --lazy")
    typed = parse_reference(name)
    if all_tags and (typed.tag is not None or typed.digest is not None):
        raise click.UsageError("--all-tags takes a name without tag and digest")
    wanted = machine_platform(os.uname().machine) if platform is None else parse_platform(platform)
    arguments = RegistryArguments(authfile, cert_dir, tls_verify)
    options = client_options(arguments)
    laziness = _laziness(arguments, wait_s) if lazy else None
    with watching(quiet=quiet, as_json=as_json) as shown:
        if typed != typed.with_default_tag() and not all_tags:
            shown.say("Using default tag: latest")
        meant = candidates(options.configuration, name)
        how = PullOptions(wanted, Keeping(Form(form), blob=keep_blobs), lazy=laziness)
        bring = _pull_all if all_tags else _pull
        store = open_store(root, create=True)
        brought = bring(store, options, meant, how, shown)
    if any(pulled.image.coming for pulled in brought):
        from overlayfs_py.packs.arrivals import start_bringing

        start_bringing(os.fsencode(store.coming))
    for pulled in brought:
        if platform is not None:
            warn_of_platform(pulled.image, wanted)
        if as_json:
            click.echo(_as_json(pulled))
        elif quiet:
            click.echo(pulled.reference.canonical)
        else:
            click.echo(_as_text(pulled))


def _laziness(arguments: RegistryArguments, wait_s: float | None) -> Laziness:
    from overlayfs_py.transfer.lazy_pull import WAIT_S, Laziness

    authfile, cert_dir, tls_verify = arguments
    return Laziness(
        WAIT_S if wait_s is None else wait_s,
        tls_verify,
        "" if cert_dir is None else str(cert_dir.absolute()),
        "" if authfile is None else str(authfile.absolute()),
    )


def _pull(
    store: Store,
    options: ClientOptions,
    references: Sequence[Reference],
    how: PullOptions,
    shown: Shown,
) -> list[Pulled]:
    from overlayfs_py.registry.client import RegistryClient
    from overlayfs_py.transfer.pull import pull_first

    tagged = [each.with_default_tag() for each in references]

    async def work() -> list[Pulled]:
        async with RegistryClient(options) as client:
            return [await pull_first(store, client, tagged, how, shown)]

    return run_async(work)


def _pull_all(
    store: Store,
    options: ClientOptions,
    references: Sequence[Reference],
    how: PullOptions,
    shown: Shown,
) -> list[Pulled]:
    """Pull all tags of a repository, of the registry that comes first."""
    from overlayfs_py.registry.client import RegistryClient
    from overlayfs_py.transfer.pull import pull

    repository = references[0]

    async def work() -> list[Pulled]:
        async with RegistryClient(options) as client:
            tags = await client.pull_sources(repository)[-1].list_tags()
            return [await pull(store, client, repository.with_tag(tag), how, shown) for tag in tags]

    return run_async(work)


def _as_text(pulled: Pulled) -> str:
    reference = pulled.reference
    news = "Downloaded newer image for" if pulled.is_new else "Image is up to date for"
    return f"Digest: {pulled.digest}\nStatus: {news} {reference.familiar}\n{reference.canonical}"


def _as_json(pulled: Pulled) -> str:
    return json.dumps(
        {
            "reference": pulled.reference.canonical,
            "digest": pulled.digest,
            "image": pulled.image.image_id,
            "new": pulled.is_new,
        }
    )
