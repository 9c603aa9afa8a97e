"""What a registry has about a manifest: its referrers, listed by the registry or under a tag.

Source: OCI distribution-spec 1.1, "Listing Referrers", "Referrers Tag Schema".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.image.errors import BadDocument
from overlayfs_py.image.manifest import Index, build_index, parse_manifest
from overlayfs_py.image.media_types import OCI_INDEX, Kind
from overlayfs_py.registry.authorization import Access
from overlayfs_py.registry.errors import NotThere, Refused
from overlayfs_py.registry.host import Ask
from overlayfs_py.registry.uploads import put_manifest

if TYPE_CHECKING:
    from overlayfs_py.image.descriptor import Descriptor
    from overlayfs_py.image.digest import Digest
    from overlayfs_py.image.manifest import Manifest
    from overlayfs_py.registry.repository import Repository

_SHOWN = {"Accept": OCI_INDEX}
_SUBJECT = "oci-subject"


def tag_of(subject: Digest) -> str:
    """The tag that lists a manifest's referrers where the registry does not."""
    return subject.replace(":", "-")


async def find_referrers(
    source: Repository, subject: Digest, artifact_type: str
) -> list[Descriptor]:
    """Return what is of one type and about a manifest, in the registry's order.

    Raises:
        RegistryError: the registry does not say.
        BadDocument: what it says is no list.
    """
    listed = await _listed(source, subject)
    if listed is None:
        listed = await _tagged(source, subject)
    found = [] if listed is None else listed.manifests
    return [each for each in found if each.artifact_type == artifact_type]


async def put_referrer(target: Repository, artifact: Manifest) -> None:
    """Put an artifact's manifest, which names its subject, and have it listed.

    Raises:
        RegistryError: the registry refuses.
    """
    assert artifact.subject is not None, "what it is about"
    subject = artifact.subject.digest
    if await _put(target, artifact):
        return
    known = await _tagged(target, subject)
    others = () if known is None else known.manifests
    kept = [each for each in others if each.digest != artifact.digest]
    index = build_index(Kind.OCI, [*kept, artifact.descriptor])
    await put_manifest(target, tag_of(subject), index.raw, index.media_type)


async def _put(target: Repository, artifact: Manifest) -> bool:
    """Put the manifest; whether the registry lists it by itself."""
    what = f"{target.name}@{artifact.digest}"
    path = f"{target.path}/manifests/{artifact.digest}"
    access = Access(target.path, "pull,push")
    kind = {"Content-Type": artifact.media_type}
    ask = Ask("PUT", path, access, what, kind, artifact.raw, stores=True)
    async with await target.host.send(ask) as answer:
        if not answer.is_success:
            raise await answer.refusal(what)
        return bool(answer.headers.get(_SUBJECT))


async def _listed(source: Repository, subject: Digest) -> Index | None:
    """What the registry lists, of whatever type; None where it knows no such list."""
    what = f"{source.name}@{subject}"
    path = f"{source.path}/referrers/{subject}"
    ask = Ask("GET", path, Access(source.path), what, _SHOWN)
    try:
        raw, _ = await source.host.read(ask)
    except (NotThere, Refused):  # of a path that it does not know
        return None
    return _index(raw, what)


async def _tagged(source: Repository, subject: Digest) -> Index | None:
    try:
        fetched = await source.fetch_manifest(tag_of(subject))
    except NotThere:
        return None
    return _index(fetched.raw, f"{source.name}:{tag_of(subject)}")


def _index(raw: bytes, what: str) -> Index:
    parsed = parse_manifest(raw, OCI_INDEX)
    if not isinstance(parsed, Index):
        raise BadDocument(what, "no list of referrers")
    return parsed
