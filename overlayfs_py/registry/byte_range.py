"""A part of a blob. Nothing here knows what it should be: whoever asks checks what comes.

Source: RFC 9110, 14: an answer of 206 says which range it is; one of 200 is all of the blob.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from overlayfs_py.registry.answers import ConnectionLost
from overlayfs_py.registry.authorization import Access
from overlayfs_py.registry.blob_stream import WrongSize
from overlayfs_py.registry.errors import BadAnswer, Unavailable
from overlayfs_py.registry.host import Ask

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from overlayfs_py.image.descriptor import Descriptor
    from overlayfs_py.registry.answers import Answer
    from overlayfs_py.registry.repository import Repository

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(?:(\d{1,19})|\*)")


class NoRanges(BadAnswer):
    """A registry that gives blobs whole, whatever it is asked for."""


class ByteRange:
    """The bytes of a blob from `start` to before `end`, in order; one request."""

    def __init__(self, source: Repository, blob: Descriptor, start: int, end: int) -> None:
        assert 0 <= start < end <= blob.size, "a range of the blob"
        self._host = source.host
        self._path = source.path
        self._blob = blob
        self._start = start
        self._left = end - start
        self._end = end
        self._what = f"{source.name}@{blob.digest}"
        self._answer: Answer | None = None

    async def __aenter__(self) -> Self:
        """Ask, and look at what kind of answer comes.

        Raises:
            RegistryError: it is none with this range.
        """
        path = f"{self._path}/blobs/{self._blob.digest}"
        headers = {"Range": f"bytes={self._start}-{self._end - 1}"}
        ask = Ask("GET", path, Access(self._path), self._what, headers)
        answer = await self._host.send(ask)
        try:
            await self._require_range(answer)
        except BaseException:
            await answer.aclose()
            raise
        self._answer = answer
        return self

    async def __aexit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        if self._answer is not None:
            await self._answer.aclose()

    async def receive_some(self) -> bytes:
        """Return the next piece, nothing at the end of the range.

        Raises:
            RegistryError: less comes.
        """
        assert self._answer is not None, "asked for"
        if not self._left:
            return b""
        try:
            piece = await self._answer.receive_some()
        except ConnectionLost as lost:
            raise Unavailable(self._what, f"{self._host.domain}: {lost}") from lost
        if not piece:
            raise WrongSize(
                self._what, f"{self._host.domain}: a range ended {self._left} bytes early"
            )
        piece = piece[: self._left]
        self._left -= len(piece)
        return piece

    async def read(self) -> bytes:
        """Return the whole range; for small ones."""
        body = bytearray()
        while piece := await self.receive_some():
            body += piece
        return bytes(body)

    async def _require_range(self, answer: Answer) -> None:
        if answer.status == 200 and (self._start or self._end != self._blob.size):
            raise NoRanges(self._what, f"{self._host.domain} gives no part of a blob")
        if answer.status == 200:
            return
        if answer.status != 206:
            raise await answer.refusal(self._what)
        told = answer.headers.get("content-range", "").strip()
        found = _CONTENT_RANGE.fullmatch(told)
        wanted = (self._start, self._end - 1)
        if found is None or (int(found[1]), int(found[2])) != wanted:
            raise BadAnswer(self._what, f"{self._host.domain} answered another range: {told!r}")
        if found[3] is not None and int(found[3]) != self._blob.size:
            raise WrongSize(
                self._what, f"is said to have {self._blob.size} bytes, and has {found[3]}"
            )
