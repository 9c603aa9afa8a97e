"""The rows of `image ls` (docker/cli, cli/command/formatter/image.go)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from overlayfs_py.image.digest import Digest, hex_of
from overlayfs_py.image.reference import parse_reference
from overlayfs_py.image.tables import Columns
from overlayfs_py.image.times import go_text, is_dated
from overlayfs_py.image.units import human_duration, human_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

NONE = "<none>"
NOT_KNOWN = "N/A"
SHORT_ID = 12  # hex digits that a person is shown of a digest

COLUMNS = Columns(
    "formatter.imageContext",
    {
        "ID": "IMAGE ID",
        "Repository": "REPOSITORY",
        "Tag": "TAG",
        "Digest": "DIGEST",
        "CreatedSince": "CREATED",
        "CreatedAt": "CREATED AT",
        "Size": "SIZE",
        "VirtualSize": "SIZE",
        "Containers": "CONTAINERS",
        "SharedSize": "SHARED SIZE",
        "UniqueSize": "UNIQUE SIZE",
    },
)
TABLE = r"table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
TABLE_WITH_DIGESTS = (
    r"table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
)
IDS = "{{.ID}}"
_RAW_DIGEST = "digest: {{.Digest}}\n"
_RAW = """repository: {{.Repository}}
tag: {{.Tag}}
%simage_id: {{.ID}}
created_at: {{.CreatedAt}}
virtual_size: {{.Size}}
"""


def format_of(word: str | None, *, quiet: bool, digests: bool) -> str:
    """The format that `--format`, `-q` and `--digests` ask for together.

    A template counts more than `-q`. Source: docker/cli, formatter/image.go (NewImageFormat).
    """
    if word in {None, "", "table"}:
        return IDS if quiet else TABLE_WITH_DIGESTS if digests else TABLE
    assert word is not None
    if word == "raw":
        return f"image_id: {IDS}" if quiet else _RAW % (_RAW_DIGEST if digests else "")
    if word.startswith("table") and digests and not shows_digests(word):
        return rf"{word}\t{{{{.Digest}}}}"
    return word


def shows_digests(form: str) -> bool:
    """Whether a format asks for digests, so that each of an image's gets its row."""
    return "{{.Digest}}" in form


class Listed(msgspec.Struct, frozen=True):
    """What a list says of an image."""

    image_id: Digest
    tags: tuple[str, ...]  # in full
    repo_digests: tuple[str, ...]  # in full
    created_ns: int | None
    size: int
    shared_size: int  # of its layers that other images have, too


class _Name(msgspec.Struct, frozen=True):
    repository: str = NONE
    tag: str = NONE
    digest: str = NONE


def image_rows(
    images: Sequence[Listed], now_ns: int, *, digests: bool, shorten: bool
) -> Iterator[Mapping[str, str]]:
    """Yield a row for each name of each image, the newest image first."""
    for image in sorted(images, key=lambda image: image.created_ns or 0, reverse=True):
        cells = _cells(image, now_ns, shorten=shorten)
        for name in _names(image, digests=digests):
            yield cells | {
                "Repository": name.repository,
                "Tag": name.tag,
                "Digest": name.digest,
            }


def _cells(image: Listed, now_ns: int, *, shorten: bool) -> dict[str, str]:
    created = image.created_ns
    return {
        "ID": short_id(image.image_id) if shorten else image.image_id,
        "CreatedSince": since(created, now_ns),
        "CreatedAt": NOT_KNOWN if created is None else go_text(created // 10**9 * 10**9),
        "Size": human_size(image.size, 3),
        "VirtualSize": human_size(image.size),
        "Containers": NOT_KNOWN,  # images know none here
        "SharedSize": human_size(image.shared_size, 3),
        "UniqueSize": human_size(image.size - image.shared_size, 3),
    }


def short_id(digest: Digest) -> str:
    """The beginning of a digest, long enough to tell it."""
    return hex_of(digest)[:SHORT_ID]


def since(created_ns: int | None, now_ns: int) -> str:
    """How long ago an image was made."""
    if created_ns is None or not is_dated(created_ns):
        return NOT_KNOWN
    return f"{human_duration(now_ns - created_ns)} ago"


def _names(image: Listed, *, digests: bool) -> list[_Name]:
    """Every tag with each digest of its repository; then digests of repositories without tags."""
    tags = [parse_reference(tag) for tag in image.tags]
    pinned = [parse_reference(name) for name in image.repo_digests]
    found = []
    for tag in tags:
        own = [pin.digest for pin in pinned if pin.repository == tag.repository] if digests else []
        named = tag.familiar_repository, tag.tag or NONE
        found += [_Name(*named, digest or NONE) for digest in own or [None]]
    tagged = {tag.repository for tag in tags}
    for pin in pinned:
        if pin.repository not in tagged:
            digest = (pin.digest or NONE) if digests else NONE
            found.append(_Name(pin.familiar_repository, NONE, digest))
    return list(dict.fromkeys(found)) or [_Name()]
