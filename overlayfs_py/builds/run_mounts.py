"""What a RUN step finds mounted, as its processes need it; nothing of it is in the layer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from overlayfs_py.containers.image_files import ImageFiles, Path

_PLACE_MODE = 0o755


class HostMount(Struct, frozen=True):
    """A directory or a file of the host: a cache mount's."""

    target: bytes  # absolute, inside
    source: bytes
    read_only: bool = False


class TreeMount(Struct, frozen=True):
    """A part of what layers show together; changes to it are thrown away."""

    target: bytes
    lower: tuple[bytes, ...]  # topmost first
    source: bytes = b"/"  # below their root
    read_only: bool = True


class MemoryMount(Struct, frozen=True):
    """An empty directory in memory."""

    target: bytes
    size: str = ""  # as mount(8) takes it; empty: half of the memory


class FileMount(Struct, frozen=True):
    """A file that the build itself has made: a secret, or a heredoc that is a program."""

    target: bytes
    content: bytes
    mode: int
    uid: int = 0
    gid: int = 0


RunMount = HostMount | TreeMount | MemoryMount | FileMount


class MountPoints:
    """Where mounts go: places that the image has, or that lie in a layer below all of its own.

    So a mount point that was missing is there to be covered, and no change of the container's.
    """

    def __init__(self, image: ImageFiles, bottom: bytes) -> None:
        """Use `bottom`, a directory that becomes the lowest layer."""
        self._image = image
        self._bottom = bottom

    def prepare(self, target: bytes, *, is_file: bool) -> Path:
        """Let there be a mount point at `target`, and return its path without links."""
        real, missing = self._real_path(target)
        if missing:
            self._make(real, is_file=is_file)
        return real

    def _real_path(self, target: bytes) -> tuple[Path, bool]:
        names = [name for name in os.path.normpath(target).split(b"/") if name]
        real: Path = ()
        for at, name in enumerate(names):
            try:
                real = self._image.find((*real, name), follow=True).path
            except (FileNotFoundError, NotADirectoryError):
                return (*real, *names[at:]), True
        return real, False

    def _make(self, path: Path, *, is_file: bool) -> None:
        directories = path[:-1] if is_file else path
        place = self._bottom
        for name in directories:
            place = os.path.join(place, name)
            if not os.path.isdir(place):
                os.mkdir(place)
                os.chmod(place, _PLACE_MODE)  # whatever the umask
        if is_file:
            place = os.path.join(place, path[-1])
            if not os.path.lexists(place):
                os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC))
