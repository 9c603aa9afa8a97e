"""How layers on disk say "deleted" and "nothing below": every form that is read, in one place.

Sources: Linux Documentation/filesystems/overlayfs.rst, fs/overlayfs/util.c; fuse-overlayfs
main.c; OCI image-spec layer.md.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from overlayfs_py.errors import CorruptLayer
from overlayfs_py.layers.values import NO_MARKS, Marks, Metacopy
from overlayfs_py.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WHITEOUT_PREFIX = b".wh."
AUFS_OPAQUE = b".wh..wh..opq"
# `.wh..wh.` names are aufs's own housekeeping (plink, orph, aufs), except AUFS_OPAQUE.
_AUFS_PRIVATE = b".wh..wh."

PRIVATE_PREFIXES = (b"trusted.overlay.", b"user.overlay.")
# What a nested overlay calls PREFIX + x lies on disk under PREFIX + ESCAPE + x.
ESCAPE = b"overlay."
FUSE_OVERLAYFS_PREFIXES = (b"user.fuseoverlayfs.", b"security.fuseoverlayfs.")

_OPAQUE = (b"trusted.overlay.opaque", b"user.overlay.opaque")
# It hides what lies below, and so gives no more than the right to make names there.
_OPAQUE_OF_FUSE_OVERLAYFS = b"user.fuseoverlayfs.opaque"
REDIRECT = (b"trusted.overlay.redirect", b"user.overlay.redirect")
METACOPY = (b"trusted.overlay.metacopy", b"user.overlay.metacopy")
# struct ovl_metacopy without a digest (fs/overlayfs/overlayfs.h), which an empty value stands for.
_METACOPY_HEAD = 4
IMPURE = (b"trusted.overlay.impure", b"user.overlay.impure")
_WHITEOUT = (b"trusted.overlay.whiteout", b"user.overlay.whiteout")


class MarkNames(NamedTuple):
    """The xattrs that are heeded as marks, a tuple for each: of one namespace, or of both.

    Whoever may write an object may set `user.overlay.*` on it, and a redirect leads to any place of
    the layers below. So a mount heeds those marks alone that its own upper would get.
    """

    opaque: tuple[bytes, ...]
    redirect: tuple[bytes, ...]
    metacopy: tuple[bytes, ...]
    whiteout: tuple[bytes, ...]


def _marks_of(at: int) -> MarkNames:
    opaque = (_OPAQUE[at], _OPAQUE_OF_FUSE_OVERLAYFS)
    return MarkNames(opaque, (REDIRECT[at],), (METACOPY[at],), (_WHITEOUT[at],))


TRUSTED_MARKS, USER_MARKS = _marks_of(0), _marks_of(1)
NO_MARK_NAMES = MarkNames((), (), (), ())
# Of a pack, which holds nothing but what its maker heeded, and says in its own way what is opaque.
PACKED_MARKS = MarkNames((), REDIRECT, METACOPY, ())


def is_reserved(name: bytes) -> bool:
    """Whether a name means something else than itself in a layer, so that no user can have it."""
    return name.startswith(WHITEOUT_PREFIX)


def deleted_by(name: bytes) -> bytes | None:
    """The name that the file `name` deletes from the layers below; None if it is no whiteout."""
    if not name.startswith(WHITEOUT_PREFIX) or name.startswith(_AUFS_PRIVATE):
        return None
    return name[len(WHITEOUT_PREFIX) :] or None


def is_whiteout_device(mode: int, rdev: int) -> bool:
    """Whether an object is the character device 0:0."""
    return rdev == 0 and stat.S_ISCHR(mode)


def has_whiteout_xattr(names: Sequence[bytes], heeded: MarkNames) -> bool:
    """Whether an empty regular file with these xattrs is a whiteout in a directory marked "x"."""
    return any(name in names for name in heeded.whiteout)


def read_marks(
    names: Sequence[bytes], value_of: Callable[[bytes], bytes], heeded: MarkNames
) -> Marks:
    """Read a directory's marks from its xattrs: their names and how to get one's value."""
    if not names:
        return NO_MARKS
    opaque = any(name in names and value_of(name) == b"y" for name in heeded.opaque)
    redirect = next((value_of(name) for name in heeded.redirect if name in names), None)
    return Marks(opaque, _valid_redirect(redirect), any(name in names for name in IMPURE))


def read_metacopy(
    names: Sequence[bytes], value_of: Callable[[bytes], bytes], name: bytes, heeded: MarkNames
) -> Metacopy | None:
    """Read a regular file's marks from its xattrs; None if its data is its own.

    A digest of the data that the value may hold is not checked, as with `verity=off`.

    Raises:
        CorruptLayer: naming the file, the value is shorter than the kernel takes
            (fs/overlayfs/util.c, ovl_check_metacopy_xattr).
    """
    mark = next((mark for mark in heeded.metacopy if mark in names), None)
    if mark is None:
        return None
    value = value_of(mark)
    if 0 < len(value) < _METACOPY_HEAD:
        raise CorruptLayer(name, "its metacopy xattr is none")
    redirect = next((value_of(name) for name in heeded.redirect if name in names), None)
    return Metacopy(_valid_redirect(redirect))


def holds_whiteout_xattrs(
    names: Sequence[bytes], value_of: Callable[[bytes], bytes], heeded: MarkNames
) -> bool:
    """Whether the directory says that its whiteouts may be files with a whiteout xattr."""
    return any(name in names and value_of(name) == b"x" for name in heeded.opaque[:1])


def _valid_redirect(value: bytes | None) -> bytes | None:
    """A redirect as the kernel accepts it: one name, or an absolute path without odd components.

    Source: fs/overlayfs/util.c, ovl_get_redirect_xattr.
    """
    if not value:
        return None
    parts = value[1:].split(b"/") if value.startswith(b"/") else [value]
    if any(part in (b"", b".", b"..") or b"/" in part for part in parts):
        return None
    return value
