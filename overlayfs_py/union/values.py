"""The values that cross the border of the union: attributes, changes, who asks, what to stack.

Nothing here does IO. Ids are as the users of the mount see them; the mapping to what lies on
disk happens inside `union`.
"""

from __future__ import annotations

import errno
from enum import Enum
from typing import TYPE_CHECKING

from overlayfs_py.layers.ids import IdMap, IdRange
from overlayfs_py.layers.values import Attributes
from overlayfs_py.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "AttributeChange",
    "Attributes",
    "Creator",
    "IdMap",
    "IdRange",
    "Need",
    "StackSpec",
    "Volume",
    "WhiteoutStyle",
    "path_of",
    "view_of",
]


class Need(Enum):
    """How much of a layer's file a change needs in the upper."""

    ATTRIBUTES = "attributes"  # the data may stay where it is
    DATA = "data"
    EMPTY = "empty"  # the file is about to be truncated to nothing


class AttributeChange(NamedTuple):
    """The attributes to set; None leaves one as it is."""

    mode: int | None = None  # permission bits only
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None
    times_are_now: bool = False  # as by touch(1), which asks for less than to set them
    # Clear set-user-ID and set-group-ID: the caller lacks CAP_FSETID. What says whether he is in
    # a group: of his own, a file that its group cannot execute keeps set-group-ID.
    kill_privileges: Callable[[int], bool] | None = None

    @property
    def changes_nothing(self) -> bool:
        """Whether no attribute is to be set, as by chown(2) with -1 for both ids."""
        return self[:6] == _NOTHING

    @property
    def only_sets_times_to_now(self) -> bool:
        """Whether that is all: those who may write a file may do so."""
        return self.times_are_now and self[:4] == _NOTHING[:4]

    @property
    def need(self) -> Need:
        """What must be in the upper before."""
        if self.size is None:
            return Need.ATTRIBUTES
        return Need.DATA if self.size else Need.EMPTY


_NOTHING = (None,) * 6


class Creator(NamedTuple):
    """Who creates an object: its owner-to-be and the umask that applies without a default ACL.

    `umask` is 0 where the kernel has masked the mode already.
    """

    uid: int
    gid: int
    umask: int = 0


class WhiteoutStyle(Enum):
    """How a deletion is written to the upper."""

    DEVICE = "device"  # character device 0:0, what kernel overlayfs writes
    AUFS = "aufs"  # an empty file `.wh.NAME`, for filesystems without mknod


class Volume(NamedTuple):
    """A host directory served at `target` (absolute, inside the mount) instead of the stack."""

    source: bytes
    target: bytes
    read_only: bool = False


class StackSpec(NamedTuple):
    """All that is needed to open a union; host paths as bytes, relative to the working directory.

    `lower` is topmost first. Without `upper` (and its `work`, on the same filesystem) the union
    is read-only.
    """

    lower: tuple[bytes, ...]
    # Layers of which nothing shows by its name: metacopies above lead there, by absolute redirects.
    data_only: tuple[bytes, ...] = ()
    # How many of `lower`, from the top, were this stack's upper once: a copy that lies in one of
    # them keeps the number that it had.
    kept: int = 0
    upper: bytes | None = None
    work: bytes | None = None
    volumes: tuple[Volume, ...] = ()
    ids: IdMap = IdMap()
    redirect_dir: bool = True  # False: renaming a merged or lower directory is EXDEV
    follows_redirects: bool = True  # False: a directory that a redirect leads elsewhere is EPERM
    # 0: owner and mode lie in the inode. 1, 2: in an xattr beside the real ones
    # (`security.fuseoverlayfs.override_stat`, `user.containers.override_stat`).
    xattr_permissions: int = 0
    # Layers, too, may keep owner and mode in an xattr that whoever may write a file may set.
    layer_overrides: bool = False
    # Marks are `user.overlay.*`, and `trusted.overlay.*` mean nothing: so in any case without the
    # right to the latter.
    user_marks: bool = False
    whiteout: WhiteoutStyle = WhiteoutStyle.DEVICE  # falls back to AUFS where mknod(0:0) fails
    # A crash of the machine may lose what was written: copy-up and fsync(2) skip the disk.
    volatile: bool = False
    # Files whose data lies in a layer below theirs are shown, and written: a change of attributes
    # leaves the data behind. Needs `redirect_dir`.
    metacopy: bool = False
    static_nlink: bool = False  # st_nlink of every directory is 1
    upper_limit: int | None = None  # bytes that the upper and its workdir may take
    noatime: bool = False  # reading moves no access time, in the upper and in volumes either
    # The workdir of an upper that is the topmost layer: its copies of files with several names.
    copies: bytes | None = None
    # The layers are directories in which all means itself: no name and no device is a whiteout, no
    # xattr a mark.
    plain: bool = False


def view_of(spec: StackSpec) -> StackSpec:
    """Return what shows the same and writes nothing: the upper is the topmost layer."""
    assert spec.upper is not None
    lower = (spec.upper, *spec.lower)
    return spec._replace(lower=lower, upper=None, work=None, copies=spec.work, upper_limit=None)


def path_of(volume: Volume) -> tuple[bytes, ...]:
    """The components of a volume's target; EINVAL unless it is an absolute path below the root."""
    components = tuple(part for part in volume.target.split(b"/") if part not in (b"", b"."))
    if not volume.target.startswith(b"/") or not components or b".." in components:
        raise OSError(errno.EINVAL, "a volume's path is absolute, below / and has no ..")
    return components
