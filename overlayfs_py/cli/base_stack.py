"""What a command line names to stand on: layers, an image of the store, or layers over an image."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.backends.mount_options import OptionError, split_list
from overlayfs_py.errors import Failure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from overlayfs_py.image.config import RunConfig
    from overlayfs_py.store.images import StoredImage

NOT_HERE = 125  # what failed is ours, not the command: as GNU chroot and docker have it
_IMAGE = "image="
_DIGITS = re.compile(r"[0-9a-f]{1,63}")
_PATH_BEGINS = ("/", "./", "../")


class NotHere(Failure):
    """What is no path, and no image of the store."""

    def __init__(self, name: str) -> None:
        super().__init__(f'{name}: not here: pull it with "overlayfs-py pull {name}"', NOT_HERE)
        self.name = name


class BaseStack(NamedTuple):
    """Layers, topmost first, and how an image among them is run."""

    layers: tuple[bytes, ...]
    image: str = ""  # as it was named; empty where there is none
    run: RunConfig | None = None


def find_base(text: str, find_image: Callable[[str], BaseStack | None]) -> BaseStack:
    """Return what `PATH[:PATH...][:IMAGE]` or `IMAGE` names.

    An image can only come last, since its name may have colons; as many parts are taken for its
    name as make one. What begins with `/`, `./` or `../` is a path, with `image=` an image;
    between the two meanings of any other word an image comes first.

    Raises:
        OptionError: it is empty.
        NotHere: there is no such image, nor a path.
        Failure: a part before an image is no path.
    """
    parts = split_list(text)
    if not any(parts):
        raise OptionError("LAYER", "at least one is needed")
    for at, part in enumerate(parts):
        is_told = part.startswith(_IMAGE)
        name = ":".join(parts[at:]).removeprefix(_IMAGE)
        found = None if not part or is_path(part) else find_image(name)
        # `1` of `debian:1` may be the beginning of some image's ID.
        if found is not None and not (_DIGITS.fullmatch(name) and _is_missing(parts[:at])):
            return found._replace(layers=(*map(_existing, parts[:at]), *found.layers))
        if is_told:
            raise NotHere(name)
    for at, part in enumerate(parts):
        if part and not is_path(part) and not os.path.lexists(part):
            raise NotHere(":".join(parts[at:]))
    return BaseStack(tuple(os.fsencode(part) for part in parts if part))


def find_in_store(name: str, root: Path | None) -> BaseStack | None:
    """Return an image and keep it as long as this process, and those that it forks; None if none.

    The beginning of an ID means a file of that name, where there is one.
    """
    from overlayfs_py.cli.store_arguments import open_store
    from overlayfs_py.store.failures import NoStore, NotInStore

    try:
        image, layers = open_store(root).use_image(name)
    except (NotInStore, NoStore):
        return None
    if _DIGITS.fullmatch(name) and os.path.lexists(name) and not _is_named(image, name):
        layers.close()
        return None
    return BaseStack(layers.lower, name, image.config.run)


def _is_named(image: StoredImage, name: str) -> bool:
    from overlayfs_py.image.reference import parse_reference

    return any(parse_reference(text).path.endswith(name) for text in image.references)


def _is_missing(parts: list[str]) -> bool:
    return not all(map(os.path.lexists, parts))


def _existing(part: str) -> bytes:
    """What stands before an image's name is a path."""
    if not os.path.lexists(part):
        raise Failure(f"{part}: No such file or directory", NOT_HERE)
    return os.fsencode(part)


def is_path(part: str) -> bool:
    """Whether a word can be nothing but a path, by its beginning."""
    return part in {".", ".."} or part.startswith(_PATH_BEGINS)
