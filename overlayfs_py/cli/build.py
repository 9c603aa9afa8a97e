"""`overlayfs-py build`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.store_arguments import open_store, root_option
from overlayfs_py.errors import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from overlayfs_py.builds.outputs import OutputWanted
    from overlayfs_py.builds.request import Bring, BuildContext, NamedImage
    from overlayfs_py.builds.variables import Variables
    from overlayfs_py.dockerfile.ignore import IgnoreRules
    from overlayfs_py.image.platform import Platform
    from overlayfs_py.image.reference import Reference
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.layers import LayersInUse
    from overlayfs_py.store.store import Store

_HELP = """Build an image from a Dockerfile and the files of CONTEXT.

No daemon and no privileges are needed. A step whose command, files and base are those of an earlier
build is not run again; at one that is, the line says what differs.

\b
Examples:
  overlayfs-py build -t app .
  overlayfs-py build -f deploy/Dockerfile --target test --build-arg V=2 .
"""
_DOCKERFILE = "Dockerfile"
_NO_CACHE = "--no-cache"
_IGNORE = ".dockerignore"
_LARGEST_DOCKERFILE = 16 << 20


class _CommandLine(click.Command):
    """Lets --no-cache have a value only behind `=`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [f"{w}=" if w == _NO_CACHE else w for w in args])


@click.command("build", cls=_CommandLine, help=_HELP)
@root_option
@click.option("-f", "--file", "file", metavar="FILE", help="The Dockerfile.")
@click.option("-t", "--tag", "tags", multiple=True, metavar="NAME[:TAG]", help="Name the image.")
@click.option("--build-arg", "arguments", multiple=True, metavar="NAME[=VALUE]", help="For ARG.")
@click.option(
    "--build-context",
    "contexts",
    multiple=True,
    metavar="NAME=DIR|IMAGE",
    help="What FROM, --from and from= find under a name.",
)
@click.option("--target", default="", metavar="STAGE", help="The stage to build.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="What the image is for.")
@click.option(
    "--no-cache",
    "no_cache",
    multiple=True,
    metavar="[=STAGE]",
    help="Build anew: all stages, or some.",
)
@click.option("--pull", is_flag=True, help="Bring bases from their registries anew.")
@click.option(
    "--secret", "secrets", multiple=True, metavar="id=NAME,src=FILE", help="For RUN --mount."
)
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="One more label.")
@click.option(
    "--annotation", "annotations", multiple=True, metavar="NAME=VALUE", help="For the manifest."
)
@click.option(
    "--network", default="default", metavar="MODE", help="default, host or none, for all RUN."
)
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    metavar="type=T,dest=PATH",
    help="Write it there.",
)
@click.option("--iidfile", type=click.Path(path_type=Path), help="Write the image's ID there.")
@click.option(
    "--progress",
    type=click.Choice(["auto", "plain", "tty", "json"]),
    default="auto",
    show_default=True,
    help="How to show what happens.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print the image's ID, and nothing else.")
@click.option("--keep-failed", is_flag=True, help="Keep the files of a command that fails.")
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Stages built side by side.")
@click.option("--dry-run", is_flag=True, help="Say what would run; run nothing.")
@click.option("--explain-cache", is_flag=True, help="Print each step's key, part by part.")
@click.argument("context", metavar="CONTEXT")
def command(
    root: Path | None,
    file: str | None,
    tags: tuple[str, ...],
    arguments: tuple[str, ...],
    contexts: tuple[str, ...],
    target: str,
    platform: str | None,
    no_cache: tuple[str, ...],
    secrets: tuple[str, ...],
    labels: tuple[str, ...],
    annotations: tuple[str, ...],
    network: str,
    outputs: tuple[str, ...],
    iidfile: Path | None,
    progress: str,
    jobs: int | None,
    context: str,
    *,
    pull: bool,
    quiet: bool,
    keep_failed: bool,
    dry_run: bool,
    explain_cache: bool,
) -> None:
    from overlayfs_py.builds import plan, variables
    from overlayfs_py.builds.build import ImageOptions, build
    from overlayfs_py.builds.request import Request
    from overlayfs_py.builds.schedule import BuildBroken
    from overlayfs_py.cli import build_arguments, build_failure
    from overlayfs_py.cli.build_progress import progress_of
    from overlayfs_py.dockerfile.parsing import parse
    from overlayfs_py.image.platform import machine_platform, parse_platform
    from overlayfs_py.image.reference import parse_reference, require_tag_name

    references = [parse_reference(tag).with_default_tag() for tag in tags]
    for reference in references:
        require_tag_name(reference)
    given = build_arguments.build_arguments(arguments)
    machine = machine_platform(os.uname().machine)
    wanted = parse_platform(platform) if platform else machine
    path, text = _dockerfile(file, context)
    dockerfile = parse(text, path)
    known = variables.of_build(dockerfile, given, wanted, machine)
    named = build_arguments.pairs("--build-context", contexts)
    opened = {name.lower(): _named(value) for name, value in named.items()}
    planned = plan.make(dockerfile, known, (wanted, machine), target, opened.keys())
    store = open_store(root, create=True)
    request = Request(
        dockerfile=dockerfile,
        plan=planned,
        variables=known,
        bring=_bringing(store, root, always=pull),
        context=_context(context, path),
        named=opened,
        identity=_identity(path),
        no_cache=build_arguments.no_cache(no_cache),
        secrets=build_arguments.secrets(secrets),
        has_network=build_arguments.network(network),
        latest_ns=_latest_ns(known),
        keep_failed=keep_failed,
        dry_run=dry_run,
        jobs=jobs or os.cpu_count() or 1,
    )
    wanted_outputs = build_arguments.outputs(outputs)
    options = ImageOptions(
        references,
        bool(references) or not outputs,
        build_arguments.pairs("--label", labels),
        build_arguments.pairs("--annotation", annotations),
    )
    shown = progress_of(progress, explain=explain_cache, quiet=quiet)
    try:
        image = build(
            store,
            request,
            options,
            shown.tell,
            lambda image: _export(image, wanted_outputs, references, store),
        )
    except BuildBroken as broken:
        shown.close(failed=not broken.is_dry)
        if broken.is_dry:
            return
        for line in broken.details:
            click.echo(line, err=True)
        if broken.kept:
            build_failure.look_into(broken)
        raise
    shown.close(failed=False)
    if iidfile is not None:
        iidfile.write_text(image.image_id)
    if quiet or not (tags or outputs):
        click.echo(image.image_id)
    for reference in references:
        click.echo(f"naming to {reference.familiar}", err=True)


def _export(
    image: StoredImage,
    outputs: Sequence[OutputWanted],
    references: Sequence[Reference],
    store: Store,
) -> None:
    from overlayfs_py.builds.outputs import OutputType, write_directory, write_stream
    from overlayfs_py.cli.outputs import output_file

    for wanted in outputs:
        if wanted.type is OutputType.LOCAL:
            write_directory(image, wanted.destination)
            continue
        with output_file(Path(wanted.destination)) as out:
            write_stream(wanted.type, image, references, store, out)


def _dockerfile(file: str | None, context: str) -> tuple[str, bytes]:
    """The Dockerfile's path, and what is in it."""
    if file == "-" or (context == "-" and file is None):
        return "-", sys.stdin.buffer.read(_LARGEST_DOCKERFILE)
    path = Path(context, _DOCKERFILE) if file is None else Path(file)
    if file is not None and not path.exists() and not path.is_absolute():
        path = Path(context, file)
    try:
        with path.open("rb") as opened:
            return str(path), opened.read(_LARGEST_DOCKERFILE)
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from error


def _latest_ns(variables: Variables) -> int | None:
    """SOURCE_DATE_EPOCH: of --build-arg, of the environment, or an ARG's default."""
    from overlayfs_py.builds.variables import SOURCE_DATE_EPOCH
    from overlayfs_py.cli import source_date

    if variables.given.get(SOURCE_DATE_EPOCH):
        return source_date.parse(variables.given[SOURCE_DATE_EPOCH])
    told = source_date.source_date_ns()
    default = variables.globals.get(SOURCE_DATE_EPOCH)
    return source_date.parse(default) if told is None and default else told


def _identity(path: str) -> str:
    """What tells one Dockerfile from another, whatever is in them."""
    import hashlib

    return hashlib.sha256(os.fsencode(os.path.abspath(path))).hexdigest()[:12]


def _context(context: str, dockerfile: str) -> BuildContext | None:
    from overlayfs_py.builds.host_context import HostContext
    from overlayfs_py.builds.request import BuildContext

    if context == "-":
        return None
    return BuildContext(HostContext(os.fsencode(context)), _ignoring(context, dockerfile))


def _ignoring(context: str, dockerfile: str) -> IgnoreRules | None:
    """The rules of the Dockerfile's own .dockerignore, or else of the context's."""
    from overlayfs_py.dockerfile.ignore import LARGEST_BYTES, IgnoreRules

    for path in (f"{dockerfile}{_IGNORE}", os.path.join(context, _IGNORE)):
        try:
            with open(path, "rb") as file:
                return IgnoreRules.parse(file.read(LARGEST_BYTES + 1), path)
        except (FileNotFoundError, NotADirectoryError):
            continue
    return None


def _named(value: str) -> BuildContext | NamedImage:
    from overlayfs_py.builds.host_context import HostContext
    from overlayfs_py.builds.request import BuildContext, NamedImage
    from overlayfs_py.cli import build_arguments

    image = build_arguments.image_of(value)
    if image is not None:
        return NamedImage(image)
    return BuildContext(HostContext(os.fsencode(value)))


def _bringing(store: Store, root: Path | None, *, always: bool) -> Bring:
    """Find an image in the store, or pull it."""
    from overlayfs_py.cli import pulling
    from overlayfs_py.image.platform import runs_on
    from overlayfs_py.store.failures import NotInStore

    def bring(name: str, platform: Platform) -> tuple[StoredImage, LayersInUse]:
        if always:
            pulling.pull(name, root)
        try:
            image, layers = store.use_image(name)
        except NotInStore:
            pulling.pull(name, root)
            return store.use_image(name)
        if runs_on(image.config.platform, platform):
            return image, layers
        layers.close()
        pulling.pull(name, root, str(platform))
        return store.use_image(name)

    return bring
