"""`overlayfs-py image ls`, also `images`."""

from __future__ import annotations

import time
from collections import Counter
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.store_arguments import IMAGE, find_store, root_option

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from overlayfs_py.image.digest import Digest
    from overlayfs_py.image.listing import Listed
    from overlayfs_py.store.images import StoredImage

_HELP = """List images, all or those that REPOSITORY[:TAG] fits (`*` and `?` stand for others).

SIZE is what the files of all layers add up to. Images without a name are `<none>`.

\b
--format takes `json` (an object per line), `raw`, a Go template, or `table` before one. Fields:
  .ID .Repository .Tag .Digest .CreatedSince .CreatedAt .Size .VirtualSize .SharedSize .UniqueSize

\b
--filter takes
  dangling=BOOL            without a name, or with one
  label=KEY[=VALUE]        label!=KEY[=VALUE] for those without
  before=IMAGE             made before that image
  since=IMAGE              made after that image
  until=TIME               made before a date, or so long ago: 24h
  reference=PATTERN        as REPOSITORY[:TAG]

\b
Examples:
  overlayfs-py image ls
  overlayfs-py images -q 'team/*'
  overlayfs-py image ls --format 'table {{.Repository}}:{{.Tag}}\\t{{.Size}}'
  overlayfs-py image ls --filter dangling=true
"""


@click.command("ls", help=_HELP)
@root_option
@click.option("-q", "--quiet", is_flag=True, help="Print IDs only.")
@click.option("--no-trunc", is_flag=True, help="Print whole IDs.")
@click.option("--digests", is_flag=True, help="Print digests, too.")
@click.option("-a", "--all", "_all", is_flag=True, help="Accepted for docker; no effect.")
@click.option("-f", "--filter", "filters", multiple=True, help="Those alone that fit.")
@click.option("--format", "form", help="json, raw, a Go template, or a table of one.")
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
    from overlayfs_py.cli.image_filters import Filter, condition, parse_filter, references
    from overlayfs_py.image import listing
    from overlayfs_py.image.tables import format_rows

    wanted = [parse_filter(text) for text in filters]
    wanted += [Filter("reference", pattern, is_denied=False)] if pattern is not None else []
    store = find_store(root)
    images = [] if store is None else store.images()
    conditions = [
        condition(each, store) for each in wanted if store is not None and each.name != "reference"
    ]
    shared = Counter(diff_id for image in images for diff_id in set(image.config.diff_ids))
    listed = [_listed(each, shared) for each in images if all(fits(each) for fits in conditions)]
    form = "json" if as_json else listing.format_of(form, quiet=quiet, digests=digests)
    rows = listing.image_rows(
        _named(listed, references(wanted)),
        time.time_ns(),
        digests=digests or listing.shows_digests(form),
        shorten=not no_trunc,
    )
    if form == listing.IDS:
        rows = iter({row["ID"]: row for row in rows}.values())  # an image with two names once
    click.echo(format_rows(form, listing.COLUMNS, rows), nl=False)


def _listed(image: StoredImage, shared: Counter[Digest]) -> Listed:
    from overlayfs_py.image.listing import Listed
    from overlayfs_py.image.times import parse_time

    sizes = {layer.diff_id: layer.record.files_size for layer in image.layers}
    return Listed(
        image.image_id,
        image.references,
        _own_digests(image),
        parse_time(image.config.created),
        image.size,
        sum(size for diff_id, size in sizes.items() if shared[diff_id] > 1),
    )


def _own_digests(image: StoredImage) -> tuple[str, ...]:
    """What it was pulled by, and pushed as where a tag says so: a push elsewhere gives no name."""
    tagged = {name.rpartition(":")[0] for name in image.references}
    pulled = image.entry.pulled
    return tuple(
        name for name in image.repo_digests if name in pulled or name.partition("@")[0] in tagged
    )


def _named(listed: Sequence[Listed], patterns: Sequence[str]) -> list[Listed]:
    """The images with only those names that some pattern fits; none is left without a name."""
    from msgspec import structs

    if not patterns:
        return list(listed)
    kept = [
        structs.replace(
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
