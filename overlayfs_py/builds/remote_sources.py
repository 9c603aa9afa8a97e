"""Sources of ADD that lie elsewhere: a URL, a repository."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from overlayfs_py.builds.failures import BadOption
from overlayfs_py.builds.host_context import HostContext
from overlayfs_py.builds.repositories import parse_repository
from overlayfs_py.builds.selection import Selected, select, select_all

if TYPE_CHECKING:
    from contextlib import ExitStack

    from overlayfs_py.builds.request import Request
    from overlayfs_py.dockerfile.instructions import Add
    from overlayfs_py.store.additions import Addition

_URLS = ("http://", "https://")


def is_remote(source: str) -> bool:
    """Whether a source of ADD is brought from elsewhere."""
    return source.startswith(_URLS) or parse_repository(source) is not None


def bring(
    source: str, instruction: Add, request: Request, addition: Addition, stack: ExitStack
) -> tuple[Selected, ...]:
    """Bring a source; it stays until `stack` is closed.

    Raises:
        BadOption: it is something else than `--checksum` says.
        BadContext, SourceNotFound, RegistryError: it cannot be had.
    """
    repository = parse_repository(source)
    if repository is not None:
        target = stack.enter_context(addition.scratch_directory())
        found = request.check_out(
            repository,
            target,
            keep_git_dir=bool(instruction.keep_git_dir),
            checksum=instruction.checksum,
        )
        tree = HostContext(os.fsencode(found), source)
        stack.callback(tree.close)
        return select(tree, ["/"])
    if instruction.checksum:
        _require_checksum(instruction.checksum)
    files = request.download(source, addition.scratch_file, checksum=instruction.checksum)
    stack.callback(files.close)
    return select_all(files, unpacks=instruction.unpack is True)


def _require_checksum(text: str) -> None:
    from overlayfs_py.builds.remote_files import require_checksum

    require_checksum(text)


def require_remote_for_checksum(instruction: Add) -> None:
    """Refuse `--checksum` of what lies in the context.

    Raises:
        BadOption: there is such a source, or several.
    """
    if not instruction.checksum:
        return
    if len(instruction.sources) != 1 or not is_remote(instruction.sources[0]):
        raise BadOption("--checksum", "it is for one source, a URL or a repository")
