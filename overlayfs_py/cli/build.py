"""`overlayfs-py build`."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from overlayfs_py.builds.request import Isolation
from overlayfs_py.cli.registries import RegistryArguments, RegistryCommand, registry_options
from overlayfs_py.cli.store_arguments import open_store, root_option

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from overlayfs_py.builds.outputs import OutputWanted
    from overlayfs_py.builds.variables import Variables
    from overlayfs_py.cli.build_caches import Caches
    from overlayfs_py.cli.build_inputs import Inputs
    from overlayfs_py.cli.build_progress import Progress
    from overlayfs_py.image.reference import Reference
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.store import Store

_HELP = """Build an image from a Dockerfile and the files of CONTEXT.

No daemon and no privileges are needed. A step whose command, files and base are those of an earlier
build is not run again; at one that is, the line says what differs.

\b
Examples:
  overlayfs-py build -t app .
  overlayfs-py build -f deploy/Dockerfile --target test --build-arg V=2 .
  overlayfs-py build --cache-from R/app:cache --cache-to type=registry,ref=R/app:cache,mode=max .
"""
_NO_CACHE = "--no-cache"


class _CommandLine(RegistryCommand):
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
    "--isolation",
    type=click.Choice([each.value for each in Isolation]),
    default=Isolation.EMBEDDED.value,
    show_default=True,
    help="Where RUN runs: chroot needs no mount, and protects nothing.",
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
@click.option("--explain-ignore", metavar="PATH", help="Say which rule hides PATH; build nothing.")
@click.option("--metadata-file", type=click.Path(path_type=Path), help="Write facts as JSON there.")
@click.option("--json", "as_json", is_flag=True, help="As --progress json.")
@click.option(
    "--cache-from",
    "caches_from",
    multiple=True,
    metavar="REF|type=T,...",
    help="Take steps from a cache elsewhere: type=registry,ref= or type=local,src=.",
)
@click.option(
    "--cache-to",
    "caches_to",
    multiple=True,
    metavar="REF|type=T,...",
    help="Export the cache: type=registry,ref= or type=local,dest=; mode=min|max, mounts=all.",
)
@registry_options
@click.option("--load", is_flag=True, help="Accepted for docker: it is always so.")
@click.option("--rm", "removed", is_flag=True, help="Accepted for docker: it is always so.")
@click.argument("context", metavar="CONTEXT|-|TAR|REPOSITORY")
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
    isolation: str,
    outputs: tuple[str, ...],
    iidfile: Path | None,
    metadata_file: Path | None,
    progress: str,
    jobs: int | None,
    explain_ignore: str | None,
    context: str,
    caches_from: tuple[str, ...],
    caches_to: tuple[str, ...],
    authfile: Path | None,
    cert_dir: Path | None,
    *,
    tls_verify: bool | None,
    pull: bool,
    quiet: bool,
    keep_failed: bool,
    dry_run: bool,
    explain_cache: bool,
    as_json: bool,
    load: bool,
    removed: bool,
) -> int | None:
    from overlayfs_py.builds import plan, variables
    from overlayfs_py.builds.build import ImageOptions, build
    from overlayfs_py.builds.events import Notice
    from overlayfs_py.builds.imported import Imported
    from overlayfs_py.builds.request import Request
    from overlayfs_py.cli import build_arguments, build_inputs
    from overlayfs_py.cli.build_progress import progress_of
    from overlayfs_py.dockerfile.parsing import parse
    from overlayfs_py.image.platform import machine_platform, parse_platform
    from overlayfs_py.image.reference import parse_reference, require_tag_name

    references = [parse_reference(tag).with_default_tag() for tag in tags]
    for reference in references:
        require_tag_name(reference)
    if keep_failed and isolation == Isolation.CHROOT.value:
        raise click.UsageError("--keep-failed keeps an upper: --isolation chroot has none")
    given = build_arguments.build_arguments(arguments)
    machine = machine_platform(os.uname().machine)
    wanted = parse_platform(platform) if platform else machine
    named = build_arguments.pairs("--build-context", contexts)
    wanted_outputs = build_arguments.outputs(outputs)
    options = ImageOptions(
        references,
        bool(references) or not outputs,
        build_arguments.pairs("--label", labels),
        build_arguments.pairs("--annotation", annotations),
    )
    store = open_store(root, create=True)
    registries = RegistryArguments(authfile, cert_dir, tls_verify)
    caches = _caches(store, registries, caches_from, caches_to)
    shown = progress_of("json" if as_json else progress, explain=explain_cache, quiet=quiet)
    with ExitStack() as stack:
        addition = stack.enter_context(store.add())
        opening = build_inputs.opening(addition, stack)
        inputs = build_inputs.inputs(file, context, opening)
        if explain_ignore is not None:
            return _explain_ignore(inputs, explain_ignore)
        dockerfile = parse(inputs.text, inputs.name)
        known = variables.of_build(dockerfile, given, (wanted, machine), target)
        planned = plan.make(dockerfile, known, (wanted, machine), target, named)
        request = Request(
            dockerfile=dockerfile,
            plan=planned,
            variables=known,
            bring=build_inputs.bringing(store, root, registries, always=pull),
            check_out=build_inputs.check_out_here,
            download=build_inputs.download,
            context=inputs.context,
            named={
                name.lower(): build_inputs.named_context(value, opening)
                for name, value in named.items()
            },
            identity=inputs.identity,
            imported=Imported() if caches is None else caches.read(addition, shown.tell),
            no_cache=build_arguments.no_cache(no_cache),
            secrets=build_arguments.secrets(secrets),
            has_network=build_arguments.network(network),
            latest_ns=_latest_ns(known),
            keep_failed=keep_failed,
            dry_run=dry_run,
            isolation=Isolation(isolation),
            jobs=jobs or os.cpu_count() or 1,
        )
        unused = variables.unused(dockerfile, given)
        if unused:
            shown.tell(Notice(f"no ARG asks for the --build-arg {', '.join(unused)}"))

        def export(image: StoredImage) -> None:
            _export(image, wanted_outputs, references, store)

        with _failures(shown):
            built = build(store, addition, request, options, shown.tell, export)
            image = built.image
            if caches is not None:
                caches.write(addition, request.imported, built, shown.tell)
            _report(image, references, iidfile, metadata_file)
            if quiet or not (tags or outputs):
                click.echo(image.image_id)
    return None


def _caches(
    store: Store,
    registries: RegistryArguments,
    caches_from: Sequence[str],
    caches_to: Sequence[str],
) -> Caches | None:
    """What there is of caches elsewhere; loading that takes longer than a build that is cached."""
    if not caches_from and not caches_to:
        return None
    from overlayfs_py.cli.build_caches import Caches

    return Caches(store, registries, caches_from, caches_to)


@contextmanager
def _failures(shown: Progress) -> Iterator[None]:
    """Show what there is to see of a build that fails; a dry run ends well."""
    from overlayfs_py.builds.schedule import BuildBroken

    try:
        yield
    except BuildBroken as broken:
        shown.close(failed=not broken.is_dry)
        if broken.is_dry:
            return
        if broken.kept:
            from overlayfs_py.cli import build_failure

            build_failure.look_into(broken)
        raise
    except BaseException:
        shown.close(failed=False)  # a terminal has its cursor back
        raise
    else:
        shown.close(failed=False)


def _report(
    image: StoredImage,
    references: Sequence[Reference],
    iidfile: Path | None,
    metadata_file: Path | None,
) -> None:
    import json

    if iidfile is not None:
        iidfile.write_text(image.image_id)
    if metadata_file is not None:
        facts = {
            "containerimage.config.digest": image.image_id,
            "containerimage.digest": image.manifest.digest,
            "image.name": ",".join(reference.canonical for reference in references),
        }
        metadata_file.write_text(json.dumps(facts, indent=2) + "\n")
    for reference in references:
        click.echo(f"naming to {reference.familiar}", err=True)


def _explain_ignore(inputs: Inputs, path: str) -> int:
    """Say which rule decides about a path; 1 where the build sees it, as `git check-ignore`."""
    rules = None if inputs.context is None else inputs.context.ignore
    rule = None if rules is None else rules.match(os.path.normpath(path).lstrip("/"))
    if rule is None:
        click.echo(f"{path}: no rule; the build sees it")
    elif rule.negated:
        click.echo(f"{path}: {rule.position}: {rule.text}; the build sees it")
    else:
        click.echo(f"{path}: {rule.position}: {rule.text}; the build does not see it")
        return 0
    return 1


def _export(
    image: StoredImage,
    outputs: Sequence[OutputWanted],
    references: Sequence[Reference],
    store: Store,
) -> None:
    if not outputs:
        return
    from overlayfs_py.builds.outputs import OutputType, write_directory, write_stream
    from overlayfs_py.cli.outputs import output_file

    for wanted in outputs:
        if wanted.type is OutputType.LOCAL:
            write_directory(image, wanted.destination)
            continue
        with output_file(Path(wanted.destination)) as out:
            write_stream(wanted.type, image, references, store, out)


def _latest_ns(variables: Variables) -> int | None:
    """SOURCE_DATE_EPOCH: of --build-arg, of the environment, or an ARG's default."""
    from overlayfs_py.builds.variables import SOURCE_DATE_EPOCH
    from overlayfs_py.cli import source_date

    if variables.given.get(SOURCE_DATE_EPOCH):
        return source_date.parse(variables.given[SOURCE_DATE_EPOCH])
    told = source_date.source_date_ns()
    default = variables.globals.get(SOURCE_DATE_EPOCH)
    return source_date.parse(default) if told is None and default else told
