"""What a layer can do: all that the union knows of it.

A layer is read-only and never changes while it is mounted. Objects are cheap handles that open
nothing until they must; they stay valid as long as their layer is open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from overlayfs_py.layers.ids import IdMap
    from overlayfs_py.layers.marks import MarkNames
    from overlayfs_py.layers.origin import OriginHandle
    from overlayfs_py.layers.values import Attributes, Entry, Finding, Marks


# More pieces than any file has.
AWAY = 1 << 40


class Reader(Protocol):
    """The data of one open regular file."""

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on, fewer only at the end of the file."""

    def try_read(self, offset: int, size: int) -> bytes | None:
        """Return what `read` would, None where that takes long.

        Then `read` may be called in a thread, and even after `close`, while the layer is open.
        """

    def is_away(self, offset: int, size: int) -> bool:
        """Whether some of a range has still to come from another machine."""

    def bring(self) -> None:
        """Wait until all of the file is here; for a thread."""

    def seek(self, offset: int, whence: int) -> int:
        """Return where the next data or hole begins: lseek(2) with SEEK_DATA or SEEK_HOLE."""

    def copy_to(self, target_fd: int, size: int, *, syncs_soon: bool = False) -> None:
        """Write the first `size` bytes to an empty file, sharing blocks and keeping holes.

        Where the file is to be synced next, the disk writes while more is copied.
        """

    def close(self) -> None:
        """Give back what the reader holds."""


class LayerObject(Protocol):
    """Any object of a layer; one that is a symbolic link is never followed."""

    def attributes(self) -> Attributes:
        """Return its attributes, owner ids as the mount shows them."""

    def owner_behind(self, ids: IdMap) -> tuple[int, int] | None:
        """Return its owner as it lies in the layer; None if `ids` are not how it is shown."""

    def read_link(self) -> bytes:
        """Return a symbolic link's target."""

    def origin(self) -> OriginHandle:
        """Return what it is for ever, whatever its name."""

    def list_xattrs(self) -> list[bytes]:
        """Return the names of its xattrs as they lie in the layer."""

    def lacks_xattr(self, name: bytes) -> bool:
        """Whether there is surely no such xattr; cheap. `get_xattr` tells where it is not sure."""

    def get_xattr(self, name: bytes) -> bytes:
        """Return one xattr's value; ENODATA if there is none."""


class LayerFile(LayerObject, Protocol):
    """An object that is not a directory."""

    @property
    def mark_names(self) -> MarkNames:
        """The xattrs that its layer heeds as marks."""

    def pieces(self) -> int:
        """Return in how many pieces its data lies at most; 1 where that makes no difference.

        `AWAY` where some of it may have still to come from another machine.
        """

    def open_reader(self) -> Reader:
        """Open a regular file's data; the caller closes it."""


class LayerDirectory(LayerObject, Protocol):
    """A directory in one layer."""

    def entries(self, *, apart: bool = False) -> Iterator[Entry]:
        """List it: names that it shows and names that it deletes, each once, in any order.

        Only where it is listed `apart` may others list it before the end is reached.
        """

    def length(self) -> int:
        """About how many names it lists, at most twice as many; 0 for few. Cheap."""

    def find(self, name: bytes) -> Finding:
        """Look one name up: MISSING also where a file `.wh.NAME` deletes it, see `deletes`."""

    def find_many(
        self, names: Sequence[bytes], *, whole_only: bool = False
    ) -> Sequence[Attributes | None]:
        """Look several names up at once: for each what `find` tells, if that is an object.

        None where it is not, or it takes more than a look: then `find` has to be asked. So, too,
        for a regular file that may be a metacopy, where `whole_only`.
        """

    def deletes(self, name: bytes) -> bool:
        """Whether a file `.wh.NAME` deletes a name that `find` says is MISSING."""

    def marks(self, *, with_opaque_file: bool = True) -> Marks:
        """Return what it says of the layers below; may skip a check that costs a file lookup."""

    def directory(self, name: bytes, ino: int = 0) -> LayerDirectory:
        """Return the handle of the child `name`, which the caller knows to be a directory.

        `ino` is the number by which it does; 0 for any.
        """

    def file(self, name: bytes, ino: int = 0) -> LayerFile:
        """Return the handle of the child `name`, which the caller knows to be something else."""


class Layer(Protocol):
    """A read-only source of objects."""

    @property
    def root(self) -> LayerDirectory:
        """Return its root directory."""

    @property
    def fd(self) -> int:
        """A descriptor on the filesystem that it lies on, owned by the layer."""

    def links_behind(self, origin: OriginHandle) -> int | None:
        """Return the link count of what a copy says it is of, None where that cannot be known."""

    def number_behind(self, origin: OriginHandle) -> int | None:
        """Return the mount's number for what a copy says it is of; None if it is not of here."""

    def close(self) -> None:
        """Close every descriptor it holds."""
