"""A registry's answers: bounded in size and time, and an error's text as one line."""

from __future__ import annotations

import socket
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec
import trio

from overlayfs_py.image.go_decoding import decode_json
from overlayfs_py.registry.errors import (
    BadAnswer,
    Denied,
    NotThere,
    Refused,
    RegistryError,
    Unavailable,
)
from overlayfs_py.registry.httpx_library import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    from overlayfs_py.registry.retrying import RetryPolicy

LARGEST_DOCUMENT = 4 << 20
_LARGEST_ERROR = 64 << 10
_SHORT_BYTES = 64 << 10  # read to its end rather than connect anew
_LONGEST_CLOSING_S = 2


class ConnectionLost(Exception):
    """An answer broke off, or none came; the same request may succeed."""


class Answer:
    """Status and headers, and a body still to come. Leaving its `async with` hangs up."""

    def __init__(self, response: httpx.Response, url: httpx.URL, retry: RetryPolicy) -> None:
        self.url = url  # where it came from in the end
        self.status = response.status_code
        self.headers = response.headers
        self._response = response
        self._retry = retry
        self._pace = _Pace(retry)
        # Not `aiter_bytes`: a digest is that of the bytes as they come, whatever a server says of
        # their encoding.
        self._pieces = aiter(response.aiter_raw())
        self._has_ended = False

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Keep the connection for the next request if little is left to come, or end it.

        The pools' generators stand inside each other, and none closes the one inside it. So each
        is brought to its end: by the end of the body, or by that of its connection.
        """
        with trio.move_on_after(_LONGEST_CLOSING_S, shield=True):
            if not self._is_short and not self._has_ended:
                self._shut_connection()
            with suppress(httpx.TransportError):
                while not self._has_ended:
                    self._has_ended = not await anext(self._pieces, b"")
        await self._response.aclose()

    @property
    def _is_short(self) -> bool:
        told = self.headers.get("content-length", "")
        has_none = self._response.request.method == "HEAD" or self.status in {204, 304}
        return has_none or (told.isdecimal() and len(told) < 10 and int(told) <= _SHORT_BYTES)

    def _shut_connection(self) -> None:
        """End the connection, and leave its descriptor to the pool, which looks at it once more."""
        stream = self._response.extensions["network_stream"]
        with suppress(OSError):  # the other side was first
            stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    async def receive_some(self) -> bytes:
        """The next piece of the body as it comes, not decoded in any way; nothing at its end.

        Raises:
            ConnectionLost: it ended too early, or came to a halt.
        """
        # Bytes may come all the time, of a chunk's extension say, and be none of the body.
        with trio.move_on_after(self._retry.silence_s), self._pace.waiting():
            try:
                piece = await anext(self._pieces, b"")
            except httpx.TransportError as error:
                raise ConnectionLost(_lost_reason(error)) from error
            self._has_ended = not piece
            self._pace.note(len(piece))
            return piece
        raise ConnectionLost(f"nothing came for {self._retry.silence_s:g} s")

    async def read(self, what: str, largest: int = LARGEST_DOCUMENT) -> bytes:
        """Return the whole body.

        Raises:
            ConnectionLost: it broke off, or took too long.
            BadAnswer: it is larger than `largest` bytes.
        """
        body = bytearray()
        with trio.move_on_after(self._retry.whole_answer_s):
            while piece := await self.receive_some():
                body += piece
                if len(body) > largest:
                    raise BadAnswer(what, f"the answer has more than {largest} bytes")
            return bytes(body)
        raise ConnectionLost(f"no whole answer in {self._retry.whole_answer_s:g} s")

    async def refusal(self, what: str) -> RegistryError:
        """Return the error that this answer stands for, with the reason that it gives."""
        reason = await self._reason()
        words = (
            f"{self.url.host}: {reason}" if reason else f"{self.url.host} answered {self._phrase}"
        )
        return _KINDS.get(self.status, _kind_of(self.status))(what, words)

    async def _reason(self) -> str:
        try:
            body = await self.read("", _LARGEST_ERROR)
        except (ConnectionLost, BadAnswer):
            return ""  # what the status says has to do
        return reason_in(body)

    @property
    def _phrase(self) -> str:
        return f"{self.status} {self._response.reason_phrase}".strip()


class _Pace:
    """Notices a body that only trickles. What its reader does meanwhile does not count."""

    def __init__(self, retry: RetryPolicy) -> None:
        self._retry = retry
        self._waited_s = 0.0
        self._bytes = 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        start = time.monotonic()
        yield
        self._waited_s += time.monotonic() - start

    def note(self, size: int) -> None:
        self._bytes += size
        if not size or self._bytes >= self._retry.slowest_bytes:
            self._bytes, self._waited_s = 0, 0.0
        elif self._waited_s > self._retry.silence_s:
            raise ConnectionLost(f"only {self._bytes} bytes in {self._retry.silence_s:g} s")


class _Error(msgspec.Struct):
    code: str = ""
    message: str | None = None
    detail: object = None


class _Errors(msgspec.Struct):
    errors: list[_Error] | None = None
    # What token servers say instead (RFC 6749, 5.2).
    error: str | None = None
    error_description: str | None = None
    details: str | None = None
    message: str | None = None


def reason_in(body: bytes) -> str:
    """Return what an error's body gives as its reason; nothing where it is not in a known form.

    Source: distribution-spec, "Error Codes".
    """
    try:
        said = decode_json(body, _Errors)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return ""
    if said.errors:
        return "; ".join(filter(None, map(_words, said.errors)))
    return said.error_description or said.details or said.message or said.error or ""


def _words(error: _Error) -> str:
    message = error.message or error.code.replace("_", " ").lower()
    return f"{message}: {error.detail}" if isinstance(error.detail, str) else message


_KINDS: dict[int, type[RegistryError]] = {
    401: Denied,
    403: Denied,
    404: NotThere,
    408: Unavailable,
    429: Unavailable,
}


def _kind_of(status: int) -> type[RegistryError]:
    if status >= 500:
        return Unavailable
    return Refused if status >= 400 else BadAnswer


def _lost_reason(error: httpx.TransportError) -> str:
    return str(error) or type(error).__name__
