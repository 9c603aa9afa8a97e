"""What an object of a layer is for ever: the origin of a copy, as kernel overlayfs writes it.

On disk (`overlay.origin`, and the names in `work/index`) it is the UUID of a filesystem and a file
handle: struct ovl_fb of fs/overlayfs/overlayfs.h. Where we have none to give, in a pack and on
filesystems without handles, a type stands there that no filesystem uses, and the kernel takes the
UUID for one that is not mounted.
"""

from __future__ import annotations

import struct
import sys

from overlayfs_py.named_tuple import NamedTuple

_VERSION = 0
_MAGIC = 0xFB
_HEAD = struct.Struct("=BBBBB16s")  # version, magic, length of all, flags, type, UUID
_BIG_ENDIAN, _ANY_ENDIAN, _PATH_UPPER = 1, 2, 4
_FLAGS = _BIG_ENDIAN if sys.byteorder == "big" else 0

# Types of ours: an inode's number is all there is. FILEID_INVALID (linux/exportfs.h) is 0xff.
NUMBER_IN_PACK = 0xFD
NUMBER_ALONE = 0xFE
_NUMBER = struct.Struct("<Q")

# linux/exportfs.h: where handles have the inode's number, by their type and size.
_INO32_GEN, _INO64_GEN, _BTRFS = 0x01, 0x81, 0x4D
_LAYOUTS = {
    (_INO32_GEN, 8): struct.Struct("=II"),  # ext4, xfs, and most
    (_INO32_GEN, 12): struct.Struct("=III"),  # tmpfs: generation, number in two halves
    (_INO64_GEN, 12): struct.Struct("=QI"),  # xfs
    (_BTRFS, 20): struct.Struct("=QQI"),
}


class OriginHandle(NamedTuple):
    """The filesystem or pack that an object lies in, and the object there."""

    uuid: bytes
    kind: int
    handle: bytes

    def to_bytes(self) -> bytes:
        """Return it as it lies on disk."""
        length = _HEAD.size + len(self.handle)
        head = _HEAD.pack(_VERSION, _MAGIC, length, _FLAGS, self.kind, self.uuid)
        return head + self.handle

    @property
    def number(self) -> int | None:
        """The number of the inode in its filesystem or pack; None if the type does not tell."""
        if self.kind in (NUMBER_IN_PACK, NUMBER_ALONE):
            return _unpacked(_NUMBER, self.handle)
        size = len(self.handle)
        layout = _LAYOUTS.get((self.kind, size))
        if layout is None:
            return None
        fields = layout.unpack(self.handle)
        is_tmpfs = len(fields) == 3 and self.kind == _INO32_GEN
        return fields[1] | fields[2] << 32 if is_tmpfs else int(fields[0])


def of_number(kind: int, uuid: bytes, number: int) -> OriginHandle:
    """Return the identity of an object that has a number and no handle."""
    return OriginHandle(uuid, kind, _NUMBER.pack(number))


def parse_origin(value: bytes) -> OriginHandle | None:
    """Read what lies on disk; None for what is empty, damaged, or of another machine."""
    if len(value) < _HEAD.size:
        return None
    version, magic, length, flags, kind, uuid = _HEAD.unpack_from(value)
    if (version, magic, length) != (_VERSION, _MAGIC, len(value)):
        return None
    if flags & _PATH_UPPER or (not flags & _ANY_ENDIAN and flags & _BIG_ENDIAN != _FLAGS):
        return None
    return OriginHandle(uuid, kind, value[_HEAD.size :])


def _unpacked(layout: struct.Struct, value: bytes) -> int | None:
    return int(layout.unpack(value)[0]) if len(value) == layout.size else None
