"""`overlayfs-py image ls`, also `images`."""

from __future__ import annotations

import time
from collections import Counter
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.store_arguments import IMAGE, open_store, root_option

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from overlayfs_py.image.digest import Digest
    from overlayfs_py.image.listing import Listed
    from overlayfs_py.store.images import StoredImage

_HELP = r"""List images, all or those that REPOSITORY[:TAG] fits (`*` and `?` stand for others).

SIZE is what the files of all layers add up to. Images without a name are `<none>`.

\b
--format takes `json` (an object per line), a Go template, or `table` before one. Fields:
  .ID .Repository .Tag .Digest .CreatedSince .CreatedAt .Size .SharedSize .UniqueSize

\b
Examples:
  overlayfs-py image ls
  overlayfs-py images -q 'team/*'
  overlayfs-py image ls --format 'table {{.Repository}}:{{.Tag}}\t{{.Size}}'
  overlayfs-py image ls --filter dangling=true
"""
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


@click.command("ls", help=_HELP)
@root_option
@click.option("-q", "--quiet", is_flag=True, help="Print IDs only.")
@click.option("--no-trunc", is_flag=True, help="Print whole IDs.")
@click.option("--digests", is_flag=True, help="Print digests, too.")
@click.option("-a", "--all", "_all", is_flag=True, help="All are shown always.")
@click.option(
    "-f", "--filter", "filters", multiple=True, help="dangling=BOOL, label=KEY[=VALUE], reference=."
)
@click.option("--format", "form", help="json, a Go template, or a table of one.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.argument("pattern", required=False, metavar="[REPOSITORY[:TAG]]", type=IMAGE)
def command(
    root: Path | None,
    pattern: str | None,
    filters: tuple[str, ...],
    form: str | None,
    *,
    quiet: bool,
    no_trunc: bool,
    digests: bool,
    _all: bool,
    as_json: bool,
) -> None:
    from overlayfs_py.image import listing
    from overlayfs_py.image.tables import format_rows

    wanted = [_filter(text) for text in filters]
    wanted += [("reference", pattern)] if pattern is not None else []
    images = open_store(root).images()
    shared = Counter(diff_id for image in images for diff_id in set(image.config.diff_ids))
    listed = [_listed(image, shared) for image in images if _fits(image, wanted)]
    rows = listing.image_rows(
        _named(listed, wanted), time.time_ns(), digests=digests, shorten=not no_trunc
    )
    if quiet:
        ids = dict.fromkeys(row["ID"] for row in rows)
        click.echo("".join(f"{image_id}\n" for image_id in ids), nl=False)
        return
    table = listing.TABLE_WITH_DIGESTS if digests else listing.TABLE
    form = "json" if as_json else {None: table, "table": table}.get(form, form)
    click.echo(format_rows(form or table, listing.COLUMNS, rows), nl=False)


def _filter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or name not in {"dangling", "label", "reference"}:
        raise click.BadParameter(f"{text!r} is not dangling=, label= or reference=")
    if name == "dangling" and value not in _TRUTHS:
        raise click.BadParameter(f"{text!r}: true or false")
    return name, value


def _listed(image: StoredImage, shared: Counter[Digest]) -> Listed:
    from overlayfs_py.image.listing import Listed
    from overlayfs_py.image.times import parse_time

    sizes = {layer.diff_id: layer.record.files_size for layer in image.layers}
    return Listed(
        image.image_id,
        image.references,
        image.repo_digests,
        parse_time(image.config.created),
        image.size,
        sum(size for diff_id, size in sizes.items() if shared[diff_id] > 1),
    )


def _fits(image: StoredImage, wanted: Sequence[tuple[str, str]]) -> bool:
    labels = image.config.run.labels or {}
    for name, value in wanted:
        if name == "dangling" and _TRUTHS[value] is bool(image.references):
            return False
        if name == "label":
            key, equals, text = value.partition("=")
            if key not in labels or (equals and labels[key] != text):
                return False
    return True


def _named(listed: Sequence[Listed], wanted: Sequence[tuple[str, str]]) -> list[Listed]:
    """The images with only those names that some pattern fits; none is left without a name."""
    from dataclasses import replace

    patterns = [value for name, value in wanted if name == "reference"]
    if not patterns:
        return list(listed)
    kept = [
        replace(
            image,
            tags=tuple(name for name in image.tags if _matches(name, patterns)),
            repo_digests=tuple(name for name in image.repo_digests if _matches(name, patterns)),
        )
        for image in listed
    ]
    return [image for image in kept if image.tags or image.repo_digests]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a pattern fits a full name, its familiar form, or either without tag and digest."""
    from overlayfs_py.image.reference import parse_reference

    reference = parse_reference(name)
    forms = {
        reference.canonical,
        reference.familiar,
        reference.repository,
        reference.familiar_repository,
    }
    return any(fnmatchcase(form, pattern) for form in forms for pattern in patterns)
