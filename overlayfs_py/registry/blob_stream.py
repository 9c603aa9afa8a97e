"""A blob as it comes in: checked against its digest and size, continued where it breaks off."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from overlayfs_py.image.digest import DigestMismatch, WrongContent, digest_of_hex
from overlayfs_py.registry.answers import ConnectionLost
from overlayfs_py.registry.authorization import Access
from overlayfs_py.registry.errors import BadAnswer, Unavailable
from overlayfs_py.registry.host import Ask
from overlayfs_py.registry.retrying import Tries

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from overlayfs_py.image.descriptor import Descriptor
    from overlayfs_py.registry.answers import Answer
    from overlayfs_py.registry.host import Host

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(?:(\d{1,19})|\*)")
# A connection that brought this much has not failed for nothing: the tries start anew.
_WORTH_A_TRY_BYTES = 1 << 20


class WrongSize(WrongContent, BadAnswer):
    """A blob that is longer or shorter than its descriptor says."""


class BlobStream:
    """The bytes of one blob, in order, each once.

    `start` bytes are there already; `state` is the SHA-256 of them, and goes on from there.
    """

    def __init__(
        self,
        host: Host,
        path: str,
        blob: Descriptor,
        *,
        start: int = 0,
        state: hashlib._Hash | None = None,
    ) -> None:
        self.position = start
        self._host = host
        self._blob = blob
        self._what = f"{host.domain}/{path}@{blob.digest}"
        self._ask = Ask("GET", f"{path}/blobs/{blob.digest}", Access(path), self._what)
        self._state = hashlib.sha256() if state is None else state
        self._answer: Answer | None = None
        self._to_skip = 0  # of an answer that begins too early
        self._tries = Tries(host.retry)
        self._tried_from = start

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        await self._hang_up()

    async def receive_some(self) -> bytes:
        """The next piece; nothing at the end, and then the blob is what its descriptor says.

        Raises:
            DigestMismatch, WrongSize: it is something else.
            RegistryError: it does not come.
        """
        while self.position < self._blob.size:
            try:
                piece = await self._receive()
            except ConnectionLost as lost:
                await self._hang_up()
                await self._wait_after(lost)
                continue
            if piece:
                return self._checked(piece)
        await self._require_end()
        return b""

    async def _receive(self) -> bytes:
        if self._answer is None:
            self._answer = await self._open()
        piece = await self._answer.receive_some()
        if not piece:
            missing = self._blob.size - self.position
            raise WrongSize(self._what, f"ended {missing} bytes before its {self._blob.size}")
        if self._to_skip:
            skipped = min(self._to_skip, len(piece))
            self._to_skip -= skipped
            piece = piece[skipped:]
        return piece

    def _checked(self, piece: bytes) -> bytes:
        self.position += len(piece)
        if self.position > self._blob.size:
            raise WrongSize(self._what, f"has more than its {self._blob.size} bytes")
        self._state.update(piece)
        return piece

    async def _require_end(self) -> None:
        """Raise if there is more, or if it is not the blob."""
        if self._answer is not None:
            try:
                piece = await self._answer.receive_some()
            except ConnectionLost:
                piece = b""  # what was wanted is here
            await self._hang_up()
            if piece:
                self.position += len(piece)
                raise WrongSize(self._what, f"has more than its {self._blob.size} bytes")
        got = digest_of_hex(self._state.hexdigest())
        if got != self._blob.digest:
            raise DigestMismatch(self._what, self._blob.digest, got)

    async def _open(self) -> Answer:
        ask = self._ask
        if self.position:
            ask = Ask(
                ask.method, ask.path, ask.access, ask.what, {"Range": f"bytes={self.position}-"}
            )
        answer = await self._host.send(ask, self._tries)
        try:
            self._to_skip = await self._begin(answer)
        except BaseException:
            await answer.aclose()
            raise
        return answer

    async def _begin(self, answer: Answer) -> int:
        """Return how many bytes of the answer are here already."""
        match answer.status:
            case 200:
                self._require_length(answer, 0)
                return self.position
            case 206 if self.position:
                found = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", "").strip())
                if found is None or int(found[1]) != self.position:
                    raise BadAnswer(self._what, f"{self._host.domain} answered another range")
                self._require_length(answer, self.position)
                return 0
            case 416:
                raise WrongSize(self._what, f"ended before its {self._blob.size} bytes")
            case _:
                raise await answer.refusal(self._what)

    def _require_length(self, answer: Answer, start: int) -> None:
        """Raise before a byte has come, where the server says how many will."""
        told = answer.headers.get("content-length")
        if told is not None and told.isdecimal() and start + int(told) != self._blob.size:
            size = start + int(told)
            raise WrongSize(self._what, f"is said to have {self._blob.size} bytes, and has {size}")

    async def _wait_after(self, lost: ConnectionLost) -> None:
        if self.position - self._tried_from >= _WORTH_A_TRY_BYTES:
            self._tries.begin_anew()
        self._tried_from = self.position
        why = f"{self._host.domain}: broke off at byte {self.position}: {lost}"
        await self._tries.wait_after(Unavailable(self._what, why))

    async def _hang_up(self) -> None:
        if self._answer is not None:
            await self._answer.aclose()
            self._answer = None
