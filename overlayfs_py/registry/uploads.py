"""Putting blobs and manifests into a repository.

A large blob goes as one stream first, as docker sends it: some registries take nothing in pieces.
Pieces are for what is missing after a break. Any status of success is success: registries differ.

Source: OCI distribution-spec 1.1, "Pushing Blobs" and "Pushing Manifests".
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from overlayfs_py.image.digest import Digest, DigestMismatch, digest_of
from overlayfs_py.registry.answers import ConnectionLost
from overlayfs_py.registry.authorization import Access
from overlayfs_py.registry.errors import BadAnswer, Refused, RegistryError, Unavailable
from overlayfs_py.registry.host import Ask
from overlayfs_py.registry.repository import told_digest
from overlayfs_py.registry.retrying import Tries

if TYPE_CHECKING:
    import httpx

    from overlayfs_py.registry.answers import Answer
    from overlayfs_py.registry.repository import Repository

# One request each, kept in memory so that it can be sent again.
CHUNK_BYTES = 8 << 20
_LARGEST_CHUNK_BYTES = 64 << 20
_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,19})")
_MAY_PASS = (408, 429)
_BINARY = {"Content-Type": "application/octet-stream"}


class UploadLost(Unavailable):
    """The registry has forgotten an upload; from the start it may succeed."""


class OnePutOnly(Refused):
    """The registry takes a blob in one PUT, whose digest has to be known before."""


class TooLarge(Refused):
    """The registry, or a proxy before it, takes no body as large as that."""


class SentPieces(AsyncIterator[bytes]):
    """The pieces of a blob; `sent` bytes of them have been asked for."""

    sent: int


class Upload:
    """A blob on its way: `send_stream`, or `send` its chunks in order, then `finish`."""

    def __init__(self, repository: Repository, what: str) -> None:
        self.position = 0
        self.chunk_bytes = CHUNK_BYTES
        self._repository = repository
        self._host = repository.host
        self._what = what
        self._location: httpx.URL | None = None

    async def begin(self, mount: Digest | None = None, source: str | None = None) -> bool:
        """Open the upload, or mount the blob from the repository `source`; whether that was done.

        Raises:
            RegistryError: this repository takes nothing from us.
        """
        path = f"{self._repository.path}/blobs/uploads/"
        if mount is not None and source is not None:
            path += f"?mount={mount}&from={source}"
        ask = self._ask("POST", path, mounted_from=source)
        async with await self._host.send(ask) as answer:
            if answer.status == 201 and mount is not None:
                return True
            if not answer.is_success:
                raise await answer.refusal(self._what)
        self._note_location(answer, ask)
        self.chunk_bytes = _chunk_bytes(answer)
        return False

    async def send(self, chunk: bytes) -> None:
        """Append a chunk; where only a part of it arrived, the rest is sent again.

        Raises:
            UploadLost: the registry has lost what it had.
            RegistryError: it does not take the chunk.
        """
        start, end = self.position, self.position + len(chunk)
        tries = Tries(self._host.retry)
        while not await self._send_rest(chunk[self.position - start :]):
            why = f"the upload breaks off at byte {self.position} again and again"
            await tries.wait_after(Unavailable(self._what, f"{self._host.domain}: {why}"))
            await self.find_position(start, end)
            if self.position == end:
                return

    async def send_stream(self, pieces: SentPieces) -> bool:
        """Send all that comes, from the start; if it broke off, `find_position` tells how far.

        Raises:
            OnePutOnly, TooLarge: not in this way.
            UploadLost: the registry does not know the upload any more.
            RegistryError: it does not take the blob.
        """
        ask = self._ask("PATCH", self._require_location(), _BINARY, stream=pieces)
        try:
            async with await self._host.send_once(ask) as answer:
                if answer.is_success:
                    self._note_location(answer, ask)
                    self.position = _position(answer, pieces.sent)
                    return self.position == pieces.sent
                if answer.status in _MAY_PASS or (answer.status >= 500 and answer.status != 501):
                    return False
                raise await self._stream_refusal(answer)
        except ConnectionLost:
            return False

    async def put_stream(self, digest: Digest, size: int, pieces: AsyncIterator[bytes]) -> None:
        """Send the whole blob with its digest; raises as `finish`."""
        headers = _BINARY | {"Content-Length": str(size)}
        await self._put(digest, headers, stream=pieces)

    async def finish(self, digest: Digest, last: bytes = b"") -> None:
        """Append `last` and have the registry keep everything under `digest`.

        Raises:
            UploadLost: no word came, and the blob is not there.
            RegistryError: the registry has another digest, or does not want the blob.
        """
        headers = self._range_headers(last) if last and self.position else _BINARY
        await self._put(digest, headers, last)

    async def _put(
        self,
        digest: Digest,
        headers: dict[str, str],
        body: bytes = b"",
        stream: AsyncIterator[bytes] | None = None,
    ) -> None:
        url = self._require_location()
        url = url.copy_with(query=_with_digest(url.query, digest))
        ask = self._ask("PUT", url, headers, body, stream=stream)
        try:
            async with await self._host.send_once(ask) as answer:
                if answer.is_success:
                    _require_same(self._what, answer, digest)
                    return
                refusal = await answer.refusal(self._what)
                if answer.status < 500 and answer.status not in {404, *_MAY_PASS}:
                    raise refusal
                why = str(refusal.strerror)
        except ConnectionLost as lost:
            why = f"{self._host.domain}: {lost}"
        # Whether it was done is not known: then the upload is gone, and the blob is there.
        if await self._repository.find_blob(digest) is None:
            raise UploadLost(self._what, why)

    async def abort(self) -> None:
        """Have the registry forget the upload; that it cannot is nothing to stop for."""
        if self._location is not None:
            async with await self._host.send(self._ask("DELETE", self._location)):
                self._location = None

    async def _send_rest(self, rest: bytes) -> bool:
        """Send; whether all is there. If not, the registry has to be asked what it has."""
        ask = self._ask("PATCH", self._require_location(), self._range_headers(rest), rest)
        end = self.position + len(rest)
        try:
            async with await self._host.send_once(ask) as answer:
                if answer.is_success:
                    self._note_location(answer, ask)
                    self.position = _position(answer, end)
                    return self.position == end
                # 416: a part of the chunk is there from a try whose answer was lost.
                if answer.status < 500 and answer.status not in {416, *_MAY_PASS}:
                    raise await answer.refusal(self._what)
        except ConnectionLost:
            pass  # the registry says how far it got
        return False

    async def find_position(self, earliest: int, latest: int) -> None:
        """Ask how much the registry has: at least `earliest` bytes, at most `latest`.

        Raises:
            UploadLost: something else, or it does not say.
        """
        ask = self._ask("GET", self._require_location())
        async with await self._host.send(ask) as answer:
            if answer.status == 404:
                raise UploadLost(self._what, f"{self._host.domain} has forgotten the upload")
            if not answer.is_success:
                raise UploadLost(self._what, str((await answer.refusal(self._what)).strerror))
        self._note_location(answer, ask)
        self.position = _position(answer, earliest)
        if not earliest <= self.position <= latest:
            raise UploadLost(self._what, f"{self._host.domain} has lost a part of the upload")

    def _ask(
        self,
        method: str,
        path: str | httpx.URL,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        mounted_from: str | None = None,
        stream: AsyncIterator[bytes] | None = None,
    ) -> Ask:
        access = Access(self._repository.path, "pull,push", mounted_from)
        stores = method in {"PATCH", "PUT"}
        return Ask(method, path, access, self._what, headers or {}, body, stream, stores)

    async def _stream_refusal(self, answer: Answer) -> RegistryError:
        refusal = await answer.refusal(self._what)
        why = str(refusal.strerror)
        match answer.status:
            case 404:
                return UploadLost(self._what, why)
            case 405 | 501:
                return OnePutOnly(self._what, why)
            case 413:
                return TooLarge(self._what, why)
            case _:
                return refusal

    def _range_headers(self, data: bytes) -> dict[str, str]:
        last = self.position + len(data) - 1
        return _BINARY | {"Content-Range": f"{self.position}-{last}"}

    def _note_location(self, answer: Answer, ask: Ask) -> None:
        location = answer.headers.get("location", "")
        if location or self._location is None:  # where it says nothing new, the old one is meant
            self._location = self._host.resolve(answer.url, location, ask.what)

    def _require_location(self) -> httpx.URL:
        assert self._location is not None, "begin() comes first"
        return self._location


async def upload_bytes(repository: Repository, digest: Digest, data: bytes) -> None:
    """Put a small blob into a repository, in one piece."""
    what = f"{repository.name}@{digest}"
    tries = Tries(repository.host.retry)
    while True:
        upload = Upload(repository, what)
        await upload.begin()
        try:
            return await upload.finish(digest, data)
        except UploadLost as lost:
            failure = lost
        await tries.wait_after(failure)


async def put_manifest(
    repository: Repository, tag: str | Digest, raw: bytes, media_type: str
) -> Digest:
    """Put a manifest under a tag or its digest; returns the digest.

    Raises:
        DigestMismatch: the registry has made something else of it.
        RegistryError: it refuses, perhaps because a blob is missing.
    """
    what = f"{repository.name}{'@' if ':' in tag else ':'}{tag}"
    path = f"{repository.path}/manifests/{tag}"
    access = Access(repository.path, "pull,push")
    ask = Ask("PUT", path, access, what, {"Content-Type": media_type}, raw, stores=True)
    async with await repository.host.send(ask) as answer:
        if not answer.is_success:
            raise await answer.refusal(what)
    digest = digest_of(raw)
    _require_same(what, answer, digest)
    return digest


def _require_same(what: str, answer: Answer, digest: Digest) -> None:
    told = told_digest(answer)
    if told is not None and told != digest:
        raise DigestMismatch(what, digest, told)


def _with_digest(query: bytes, digest: Digest) -> bytes:
    """The query with a digest; its other parts, perhaps signed, stay byte for byte."""
    own = b"digest=" + digest.replace(":", "%3A").encode()
    return query + b"&" + own if query else own


def _position(answer: Answer, otherwise: int) -> int:
    """Return how much the registry says that it has."""
    found = _RANGE.fullmatch(answer.headers.get("range", "").strip())
    if found is None:
        return otherwise
    # "0-0" stands for nothing, too (distribution, registry/handlers/blobupload.go); chunks of one
    # byte are not sent.
    last = int(found[1])
    return last + 1 if last else 0


def _chunk_bytes(answer: Answer) -> int:
    asked = answer.headers.get("oci-chunk-min-length", "")
    least = int(asked) if asked.isdecimal() and len(asked) < 20 else 0
    if least > _LARGEST_CHUNK_BYTES:
        raise BadAnswer(str(answer.url.host), f"wants chunks of at least {least} bytes")
    return max(CHUNK_BYTES, least)
