"""A repository in a registry: manifests, blobs and tags to read.

Source: OCI distribution-spec 1.1, which Docker's registry speaks too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from overlayfs_py.image.digest import BadDigest, Digest, DigestMismatch, digest_of, parse_digest
from overlayfs_py.image.go_decoding import decode_json
from overlayfs_py.image.media_types import ACCEPTED
from overlayfs_py.registry.authorization import Access
from overlayfs_py.registry.blob_stream import BlobStream
from overlayfs_py.registry.errors import BadAnswer
from overlayfs_py.registry.host import Ask

if TYPE_CHECKING:
    import hashlib

    import httpx

    from overlayfs_py.image.descriptor import Descriptor
    from overlayfs_py.registry.answers import Answer
    from overlayfs_py.registry.host import Host

_ACCEPT = {"Accept": ", ".join(ACCEPTED)}
_NEXT_LINK = re.compile(r'<([^<>]*)>[^,]*;\s*rel="?next"?')
_TAGS_PER_PAGE = 1000
_MOST_PAGES = 1000


@dataclass(frozen=True, slots=True)
class ManifestBytes:
    """A manifest or index as it came; its digest has been checked, nothing else."""

    raw: bytes
    digest: Digest
    content_type: str | None


class _TagsForm(msgspec.Struct):
    tags: list[str] | None = None


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository, to read from."""

    host: Host
    path: str

    @property
    def name(self) -> str:
        return f"{self.host.domain}/{self.path}"

    async def fetch_manifest(self, tag: str | Digest) -> ManifestBytes:
        """Return the manifest of a tag or of a digest.

        Raises:
            NotThere: there is none.
            DigestMismatch: it is another one than the digest, or than the registry says.
        """
        ask = self._ask_manifest("GET", tag)
        raw, answer = await self.host.read(ask)
        got = digest_of(raw)
        for want in filter(None, (_as_digest(tag), told_digest(answer))):
            if want != got:
                raise DigestMismatch(ask.what, want, got)
        return ManifestBytes(raw, got, answer.headers.get("content-type"))

    async def find_blob(self, digest: Digest) -> int | None:
        """Return the size of a blob, or None if the repository does not have it, or cannot tell."""
        what = self._name_of(digest)
        ask = Ask("HEAD", f"{self.path}/blobs/{digest}", Access(self.path), what)
        async with await self.host.send(ask) as answer:
            if answer.status in {404, 405, 501}:  # some registries know no HEAD
                return None
            if not answer.is_success:
                raise await answer.refusal(what)
        return _length(answer)

    def open_blob(
        self, blob: Descriptor, *, start: int = 0, state: hashlib._Hash | None = None
    ) -> BlobStream:
        """Return a blob's bytes from `start` on, of which `state` is the SHA-256 so far."""
        return BlobStream(self.host, self.path, blob, start=start, state=state)

    async def read_blob(self, blob: Descriptor, largest: int) -> bytes:
        """Return a small blob whole.

        Raises:
            BadAnswer: it has more than `largest` bytes.
        """
        if blob.size > largest:
            raise BadAnswer(self._name_of(blob.digest), f"has more than {largest} bytes")
        body = bytearray()
        async with self.open_blob(blob) as stream:
            while piece := await stream.receive_some():
                body += piece
        return bytes(body)

    async def list_tags(self) -> list[str]:
        """Return all tags, in the registry's order."""
        what = self.name
        access = Access(self.path)
        ask = Ask("GET", f"{self.path}/tags/list?n={_TAGS_PER_PAGE}", access, what)
        tags: list[str] = []
        seen = {str(self.host.url(ask.path))}
        for _ in range(_MOST_PAGES):
            raw, answer = await self.host.read(ask)
            tags += self._parse_tags(raw)
            url = self._next_page(answer)
            if url is None:
                return tags
            if str(url) in seen:
                raise BadAnswer(what, f"{self.host.domain} lists its tags in a circle")
            seen.add(str(url))
            ask = Ask("GET", url, access, what)
        raise BadAnswer(what, f"more than {_MOST_PAGES} pages of tags")

    def _parse_tags(self, raw: bytes) -> list[str]:
        try:
            return decode_json(raw, _TagsForm).tags or []
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise BadAnswer(self.name, f"{self.host.domain}: no list of tags: {error}") from error

    def _next_page(self, answer: Answer) -> httpx.URL | None:
        found = _NEXT_LINK.search(answer.headers.get("link", ""))
        return None if found is None else self.host.resolve(answer.url, found[1], self.name)

    def _ask_manifest(self, method: str, tag: str | Digest) -> Ask:
        path = f"{self.path}/manifests/{tag}"
        return Ask(method, path, Access(self.path), self._name_of(tag), _ACCEPT)

    def _name_of(self, tag: str | Digest) -> str:
        return f"{self.name}{':' if _as_digest(tag) is None else '@'}{tag}"


def _as_digest(tag: str) -> Digest | None:
    return None if ":" not in tag else parse_digest(tag)  # no tag has a colon


def told_digest(answer: Answer) -> Digest | None:
    """The digest that the registry says, where it says one that we can check."""
    try:
        return parse_digest(answer.headers.get("docker-content-digest", ""))
    except BadDigest:
        return None


def _length(answer: Answer) -> int:
    text = answer.headers.get("content-length", "")
    return int(text) if text.isdecimal() and len(text) < 20 else 0
