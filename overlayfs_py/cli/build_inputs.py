"""What a build starts from: its Dockerfile, its contexts, and the images of the store."""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.builds.context_opening import ContextOpening, file_in
from overlayfs_py.builds.repositories import check_out, is_bare
from overlayfs_py.builds.request import BuildContext, NamedImage
from overlayfs_py.cli import build_arguments
from overlayfs_py.errors import Failure
from overlayfs_py.image.platform import runs_on
from overlayfs_py.store.failures import NotInStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack
    from typing import BinaryIO

    from overlayfs_py.builds.context import Context
    from overlayfs_py.builds.loose_files import LooseFiles
    from overlayfs_py.builds.request import Bring
    from overlayfs_py.cli.registries import RegistryArguments
    from overlayfs_py.dockerfile.ignore import IgnoreRules
    from overlayfs_py.image.platform import Platform
    from overlayfs_py.store.additions import Addition
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.layers import LayersInUse
    from overlayfs_py.store.store import Store

_DOCKERFILE = "Dockerfile"
_IGNORE = ".dockerignore"
_STDIN = "-"
_LARGEST_DOCKERFILE = 16 << 20


class Inputs(NamedTuple):
    """What there is to build from."""

    name: str  # of the Dockerfile, in messages
    text: bytes
    context: BuildContext | None

    @property
    def identity(self) -> str:
        """What tells one Dockerfile from another, whatever is in them."""
        return hashlib.sha256(os.fsencode(os.path.abspath(self.name))).hexdigest()[:12]


def opening(addition: Addition, stack: ExitStack) -> ContextOpening:
    """What opens contexts for this command."""
    return ContextOpening(addition, stack, check_out_here, download)


check_out_here = partial(check_out, environment=os.environ)


def download(url: str, new_file: Callable[[], BinaryIO], *, checksum: str = "") -> LooseFiles:
    """Download a file as this machine's user would."""
    from overlayfs_py.builds import remote_files
    from overlayfs_py.cli.registries import machine, run_async
    from overlayfs_py.registry.transport import TransportOptions

    options = TransportOptions(proxies=machine().proxies())
    return run_async(lambda: remote_files.download(url, new_file, options, checksum=checksum))


def inputs(file: str | None, context: str, opened: ContextOpening) -> Inputs:
    """Find the Dockerfile and open the context.

    Raises:
        BadContext, Failure: one of them cannot be read.
    """
    if file == _STDIN and context == _STDIN:
        raise Failure("-f -: stdin is the context already")
    found = opened.open(context, sys.stdin.buffer)
    if found.tree is None:
        assert found.dockerfile is not None
        return Inputs(_STDIN, found.dockerfile, None)
    name, text = _dockerfile(file, context, found.tree)
    return Inputs(name, text, BuildContext(found.tree, _rules(name, context, found.tree)))


def _dockerfile(file: str | None, context: str, tree: Context) -> tuple[str, bytes]:
    if file == _STDIN:
        return _STDIN, sys.stdin.buffer.read(_LARGEST_DOCKERFILE)
    if file is not None:
        with suppress(FileNotFoundError, NotADirectoryError):
            return file, _read(Path(file))
    name = file or _DOCKERFILE
    text = file_in(tree, name)
    shown = os.path.join(context, name) if os.path.isdir(context) else name
    if text is None:
        raise Failure(f"{shown}: No such file or directory")
    return shown, text


def _read(path: Path) -> bytes:
    with path.open("rb") as opened:
        return opened.read(_LARGEST_DOCKERFILE)


def _rules(dockerfile: str, context: str, tree: Context) -> IgnoreRules | None:
    """The rules of the Dockerfile's own .dockerignore, or else of the context's."""
    with suppress(FileNotFoundError, NotADirectoryError):
        path = Path(f"{dockerfile}{_IGNORE}")
        return _parsed(_read(path), str(path))
    return _rules_in(context, tree, f"{os.path.basename(dockerfile)}{_IGNORE}", _IGNORE)


def _rules_in(context: str, tree: Context, *names: str) -> IgnoreRules | None:
    """The rules of the first of some files that a context has."""
    for name in names:
        text = file_in(tree, name)
        if text is not None:
            return _parsed(text, os.path.join(context, name))
    return None


def _parsed(text: bytes, name: str) -> IgnoreRules:
    from overlayfs_py.dockerfile.ignore import IgnoreRules  # most contexts have none

    return IgnoreRules.parse(text, name)


def named_context(value: str, opened: ContextOpening) -> BuildContext | NamedImage:
    """What a --build-context means."""
    image = build_arguments.image_of(value)
    if image is not None:
        return NamedImage(image)
    tree = opened.of_path(value)
    # Of a directory, as BuildKit has it: what an archive or a repository holds is there on purpose.
    is_directory = os.path.isdir(value) and not is_bare(os.fsencode(value))
    return BuildContext(tree, _rules_in(value, tree, _IGNORE) if is_directory else None)


def bringing(
    store: Store, root: Path | None, arguments: RegistryArguments, *, always: bool
) -> Bring:
    """What finds an image in the store, or pulls it."""
    from overlayfs_py.cli.whole_images import use_whole_image

    options = arguments.words

    def pull(*words: str) -> None:
        from overlayfs_py.cli import pulling

        pulling.pull(words[0], root, *words[1:], options=options)

    def bring(name: str, platform: Platform) -> tuple[StoredImage, LayersInUse]:
        if always:
            pull(name)
        try:
            image, layers = use_whole_image(store, name)
        except NotInStore:
            pull(name)
            return use_whole_image(store, name)
        if runs_on(image.config.platform, platform):
            return image, layers
        layers.close()
        pull(name, str(platform))
        return use_whole_image(store, name)

    return bring
