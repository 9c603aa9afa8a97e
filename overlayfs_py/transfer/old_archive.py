"""Images as docker before 1.10 saved them: each layer with a record of the image that it ends.

A layer is a directory named by an ID, with the tar and the record, which names the image below.
`repositories` has the names. The record of an image becomes the config that docker makes of it.
Sources: moby, image/tarexport/load.go (legacyLoad); image/v1/imagev1.go (MakeConfigFromV1Config).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from overlayfs_py.image import go_json
from overlayfs_py.image.go_decoding import decode_json
from overlayfs_py.image.manifest import MOST_LAYERS
from overlayfs_py.transfer.archive_documents import MOST_IMAGES, name_to_give
from overlayfs_py.transfer.failures import BadArchive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.image.go_json import Json
    from overlayfs_py.image.reference import Reference
    from overlayfs_py.transfer.archive_contents import Contents

    Name = tuple[bytes, ...]

_Form = TypeVar("_Form")

_ID = re.compile(rb"[0-9a-f]{64}")
_OF_THE_RECORD_ALONE = ("id", "parent", "Size", "parent_id", "layer_id", "throwaway")


class OldImage(NamedTuple):
    """An image, and what its config is."""

    config: bytes
    layers: tuple[Name, ...]  # lowest first
    references: tuple[Reference, ...]


class _Made(msgspec.Struct, rename="pascal"):
    cmd: list[str | None] | None = None


class _Record(msgspec.Struct):
    parent: str | None = None
    created: str | None = None
    author: str | None = None
    comment: str | None = None
    container_config: _Made | None = None

    @property
    def step(self) -> dict[str, Json]:
        """What the config's history has of it."""
        made = self.container_config
        command = " ".join(word or "" for word in (made.cmd if made else None) or ())
        told = {"author": self.author, "created_by": command, "comment": self.comment}
        created = self.created or "0001-01-01T00:00:00Z"
        return {"created": created, **{name: text for name, text in told.items() if text}}


def old_images(contents: Contents) -> Iterator[OldImage]:
    """Yield the images that have a name, and those that no other is built on.

    Raises:
        BadArchive: a record, a layer or an image below is missing or makes no sense.
        BadReference: a name is none.
    """
    records = {
        name[0].decode(): _decoded(contents, raw, _Record, f"{name[0].decode()}/json")
        for name, raw in contents.documents.items()
        if len(name) == 2 and name[1] == b"json" and _ID.fullmatch(name[0])
    }
    names = _names(contents)
    below = {record.parent for record in records.values()}
    wanted = list(dict.fromkeys((*names, *(each for each in records if each not in below))))
    if len(wanted) > MOST_IMAGES:
        raise BadArchive(contents.archive, f"{len(wanted)} images are too many")
    for image_id in wanted:
        stack = _stack(contents, records, image_id)
        layers = tuple((each.encode(), b"layer.tar") for each in stack)
        config = _config(contents, [records[each] for each in stack], layers)
        yield OldImage(config, layers, names.get(image_id, ()))


def _names(contents: Contents) -> dict[str, tuple[Reference, ...]]:
    """What the images are called, by their IDs."""
    raw = contents.document(b"repositories")
    listed = {} if raw is None else _decoded(contents, raw, _REPOSITORIES, "repositories")
    names: dict[str, tuple[Reference, ...]] = {}
    for repository, tags in listed.items():
        for tag, image_id in (tags or {}).items():
            name = name_to_give(contents.archive, f"{repository}:{tag}")
            names[image_id] = (*names.get(image_id, ()), *((name,) if name else ()))
    return names


def _stack(contents: Contents, records: dict[str, _Record], image_id: str) -> list[str]:
    """The IDs of an image and of those below it, lowest first."""
    stack = [image_id]
    while True:
        if stack[-1] not in records:
            why = "is missing" if len(stack) == 1 else f"is missing, on which {stack[-2]} is built"
            raise BadArchive(contents.archive, f"{stack[-1]}/json {why}")
        parent = records[stack[-1]].parent
        if not parent:
            return stack[::-1]
        if parent in stack or len(stack) >= MOST_LAYERS:
            raise BadArchive(contents.archive, f"{image_id}: too many images below it, or itself")
        stack.append(parent)


def _config(contents: Contents, stack: list[_Record], layers: tuple[Name, ...]) -> bytes:
    top = contents.require_document((layers[-1][0], b"json"))
    fields: dict[str, Json] = _decoded(contents, top, _FIELDS, f"{layers[-1][0].decode()}/json")
    kept = {name: value for name, value in fields.items() if name not in _OF_THE_RECORD_ALONE}
    diff_ids = [contents.layer(layer).diff_id for layer in layers]
    kept["rootfs"] = {"type": "layers", "diff_ids": diff_ids}
    kept["history"] = [record.step for record in stack]
    return go_json.compact_bytes(go_json.sorted_map(kept))


def _decoded(contents: Contents, raw: bytes, form: type[_Form], what: str) -> _Form:
    try:
        return decode_json(raw, form)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadArchive(contents.archive, f"{what}: {error}") from error


_FIELDS = dict[str, Any]
_REPOSITORIES = dict[str, dict[str, str] | None]
