"""A file that ADD takes from a URL. It is copied as it is, whatever is in it.

Source: moby/buildkit, source/http/source.go and frontend/dockerfile/dockerfile2llb/convert_copy.go.
"""

from __future__ import annotations

import hashlib
import posixpath
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote

import trio

from overlayfs_py.builds.failures import BadOption, SourceNotFound
from overlayfs_py.builds.loose_files import LooseFile, LooseFiles
from overlayfs_py.builds.spool import Spool
from overlayfs_py.late_import import late_pattern
from overlayfs_py.registry.answers import ConnectionLost
from overlayfs_py.registry.errors import BadAnswer, NotThere, Unavailable
from overlayfs_py.registry.httpx_library import httpx
from overlayfs_py.registry.retrying import Tries
from overlayfs_py.registry.transport import Call, Transport, TransportOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from overlayfs_py.registry.answers import Answer

_MODE = 0o600
_NAMELESS = "__unnamed__"
_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
_CHECKSUM = late_pattern(r"([a-z0-9]+):([0-9a-f]+)")


def require_checksum(text: str) -> str:
    """Return the value of `--checksum`, ALGORITHM:HEX.

    Raises:
        BadOption: it is no such thing.
    """
    found = _CHECKSUM.fullmatch(text)
    if found is None or len(found[2]) != _LENGTHS.get(found[1]):
        why = f"not a digest, as sha256: and {_LENGTHS['sha256']} hex digits"
        raise BadOption(f"--checksum={text}", why)
    return text


async def download(
    url: str,
    new_file: Callable[[], BinaryIO],
    options: TransportOptions,
    *,
    checksum: str = "",
    largest: int = 1 << 36,
) -> LooseFiles:
    """Return what a URL gives, as a context of one file, which the caller closes.

    It has the URL's last component for a name, mode 0600, and the time that the server says it
    was changed, or none (1970).

    Args:
        url: of http or https.
        new_file: opens the file to keep it in.
        options: how to connect.
        checksum: what it must be, see `require_checksum`.
        largest: how many bytes it may have.

    Raises:
        SourceNotFound: the server does not have it.
        RegistryError: the server cannot be reached, denies it, or breaks off every time.
        BadOption: it is something else than `checksum` says.
    """
    try:
        address = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        raise BadAnswer(url, "this is no URL") from None
    file = new_file()
    try:
        async with Transport(address, options) as transport:
            fetch = _Fetch(transport, Call("GET", address, what=url), file, largest)
            headers = await fetch.run()
        _require(url, file, checksum)
    except BaseException:
        file.close()
        raise
    size = file.seek(0, 2)
    data = partial(Spool(file).read, 0, size)
    name = _name_of(address).encode("utf-8", "surrogateescape")
    mtime_ns = _time_of(headers.get("last-modified", ""))
    return LooseFiles([LooseFile(name, _MODE, mtime_ns, size, data)], url, (file,))


class _Fetch:
    def __init__(self, transport: Transport, call: Call, file: BinaryIO, largest: int) -> None:
        self._transport = transport
        self._call = call
        self._file = file
        self._largest = largest

    async def run(self) -> httpx.Headers:
        """Download it, from the beginning each time that it breaks off."""
        tries = Tries(self._transport.retry)
        while True:
            answer = await self._transport.send(self._call, tries)
            async with answer:
                if not answer.is_success:
                    error = await answer.refusal(self._call.what)
                    if isinstance(error, NotThere):
                        raise SourceNotFound(self._call.what, error.strerror or "") from error
                    raise error
                try:
                    await self._receive(answer)
                    return answer.headers
                except ConnectionLost as lost:
                    failure = Unavailable(self._call.what, f"{answer.url.host}: {lost}")
            await tries.wait_after(failure)

    async def _receive(self, answer: Answer) -> None:
        self._file.seek(0)
        self._file.truncate()
        size = 0
        while piece := await answer.receive_some():
            size += len(piece)
            if size > self._largest:
                raise BadAnswer(self._call.what, f"it has more than {self._largest} bytes")
            await trio.to_thread.run_sync(self._file.write, piece)


def _require(url: str, file: BinaryIO, checksum: str) -> None:
    if not checksum:
        return
    algorithm = checksum.partition(":")[0]
    digest = hashlib.new(algorithm)
    for piece in Spool(file).read(0, file.seek(0, 2)):
        digest.update(piece)
    found = f"{algorithm}:{digest.hexdigest()}"
    if found != checksum:
        raise BadOption(f"--checksum={checksum}", f"{url} has {found}")


def _name_of(url: httpx.URL) -> str:
    name = posixpath.basename(posixpath.normpath(unquote(url.path, errors="surrogateescape")))
    return _NAMELESS if name in {"", ".", ".."} or "\0" in name else name


def _time_of(text: str) -> int:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000_000
