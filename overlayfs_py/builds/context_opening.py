"""The build context that a command line names: a directory, an archive, a repository, or none."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, TypeVar

from overlayfs_py.builds.failures import BadContext, SourceNotFound
from overlayfs_py.builds.host_context import HostContext
from overlayfs_py.builds.repositories import Repository, is_bare, parse_repository
from overlayfs_py.builds.selection import select
from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.packs.values import Hole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import ExitStack
    from pathlib import Path
    from typing import BinaryIO

    from overlayfs_py.builds.context import Context
    from overlayfs_py.builds.loose_files import LooseFiles
    from overlayfs_py.store.additions import Addition

    # Puts a repository's files into an empty directory, and returns the one that is meant.
    CheckOut = Callable[..., Path]
    # Downloads a URL into a file that it gets opened.
    Download = Callable[..., LooseFiles]

_Any = TypeVar("_Any", bound="Context")
_STEP = 1 << 20
_LARGEST_DOCKERFILE = 16 << 20
_STDIN = "-"
_DOWNLOADED = ("http://", "https://")


class Opened(NamedTuple):
    """A context, and the Dockerfile where that came instead of one, or with it."""

    tree: Context | None
    dockerfile: bytes | None = None


class ContextOpening:
    """Opens contexts for one build; they are closed with `stack`."""

    def __init__(
        self, addition: Addition, stack: ExitStack, check_out: CheckOut, download: Download
    ) -> None:
        self._addition = addition
        self._stack = stack
        self._check_out = check_out
        self._download = download

    def open(self, text: str, stdin: BinaryIO) -> Opened:
        """Open what a word means: a path, a URL, `-` for stdin.

        Raises:
            BadContext: it is nothing to build from.
        """
        if text == _STDIN:
            return self._of_stream(stdin, "stdin")
        repository = parse_repository(text)
        if repository is not None:
            return Opened(self._of_repository(repository))
        if text.startswith(_DOWNLOADED):
            return self._of_url(text)
        return Opened(self.of_path(text))

    def of_path(self, text: str) -> Context:
        """Open a directory, an archive or a repository without a tree."""
        path = os.fsencode(text)
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            raise BadContext(path, error.strerror or "cannot be read") from None
        if stat.S_ISREG(mode):
            with open(path, "rb") as file:
                return self._of_archive(_blocks(file), text)
        if stat.S_ISDIR(mode) and is_bare(path):
            return self._of_repository(Repository(f"file://{os.path.abspath(text)}"))
        return self._closing(HostContext(path, text))

    def _of_url(self, url: str) -> Opened:
        files = self._closing(self._download(url, self._addition.scratch_file))
        (item,) = files.children(files.root)
        blocks = (bytes(piece) for piece in files.data(item) if not isinstance(piece, Hole))
        return self._of_blocks(blocks, url)

    def _of_stream(self, stream: BinaryIO, name: str) -> Opened:
        return self._of_blocks(_blocks(stream), name)

    def _of_blocks(self, blocks: Iterator[bytes], name: str) -> Opened:
        from overlayfs_py.builds.archive_context import HEAD_BYTES, is_archive_head

        head = b""
        for block in blocks:
            head += block
            if len(head) >= HEAD_BYTES:
                break
        if is_archive_head(head[:HEAD_BYTES]):
            return Opened(self._of_archive(_chained(head, blocks), name))
        text = head + b"".join(blocks)
        if len(text) > _LARGEST_DOCKERFILE:
            raise BadContext(name, "neither an archive nor a Dockerfile: too large")
        return Opened(None, text)

    def _of_archive(self, blocks: Iterator[bytes], name: str) -> Context:
        from overlayfs_py.builds.archive_context import archive_context  # loads archives' readers

        return self._closing(archive_context(self._addition, blocks, name))

    def _of_repository(self, repository: Repository) -> Context:
        target = self._stack.enter_context(self._addition.scratch_directory())
        found = self._check_out(repository, target)
        return self._closing(HostContext(os.fsencode(found), str(repository)))

    def _closing(self, context: _Any) -> _Any:
        self._stack.callback(context.close)
        return context


def file_in(tree: Context, name: str) -> bytes | None:
    """Return a small file of a context, None if it has none of that name.

    Raises:
        BadContext: it cannot be read, or is far too large.
    """
    try:
        (found,) = select(tree, [name])
    except (SourceNotFound, ValueError):
        return None
    if not found.source.is_file:
        return None
    if found.source.size > _LARGEST_DOCKERFILE:
        raise BadContext(name, f"{found.source.size} bytes are too many")
    pieces = tree.data(found.source)
    return b"".join(bytes(p.length) if isinstance(p, Hole) else bytes(p) for p in pieces)


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(_STEP):
        yield block


def _chained(head: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from blocks
