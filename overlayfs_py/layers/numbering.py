"""The inode numbers of a mount: each object's own where one filesystem makes the whole stack.

Programs built without large-file support take no number above 32 bits, and kernel overlayfs shows
the filesystem's own where there is only one. So the first filesystem's objects keep their numbers,
those of others get the place of their filesystem in the stack above bit 48, and packs share the
upper end of 32 bits. Nothing depends on what is looked at first: the numbers are the same at every
mount of the same stack.
"""

from __future__ import annotations

from overlayfs_py.layers.values import INO_BITS
from overlayfs_py.syscalls.handles import filesystem_uuid

# What has a number of the first filesystem's that is taken: 0, 1 (FUSE's root), those of packs.
_TAKEN_SLOT = 1
_END_OF_32_BITS = 1 << 32
_MOST_IN_PACKS = 1 << 31
# Where an inode's own number does not fit in: counted in a volume, else mixed of what is known.
# (Bit 61 is the pyfuse3 driver's.)
FOREIGN_INOS = 1 << 62
_MIXED_BITS = 60
_MIXED_INOS = FOREIGN_INOS | 1 << _MIXED_BITS
# Downwards from here: what would have the number of another.
SUBSTITUTES = _MIXED_INOS | (1 << _MIXED_BITS) - 1
_ODD = 0x9E37_79B9_7F4A_7C15  # 2**64 over the golden ratio: odd, so that no two products are equal


class Filesystem:
    """One filesystem of the stack, whichever of its trees are layers."""

    __slots__ = ("end", "first", "slot", "uuid")

    def __init__(self, slot: int, uuid: bytes | None) -> None:
        self.slot = slot
        self.uuid = uuid  # None: it has none, or one that another filesystem of the stack has, too
        # The numbers that are shown as they are, with the slot above them.
        self.first = 0 if slot else 2
        self.end = 1 << INO_BITS

    def number(self, ino: int) -> int:
        """The mount's number for an inode."""
        if self.first <= ino < self.end:
            return self.slot << INO_BITS | ino
        if ino >> INO_BITS == 0:
            return _TAKEN_SLOT << INO_BITS | ino
        return self.number_of_foreign(0, ino)

    def number_of_foreign(self, device: int, ino: int) -> int:
        """The mount's number for a large one, or for an inode of a mount inside the tree."""
        mixed = (ino * _ODD + (device << 13 | self.slot) * (_ODD >> 3 | 1)) % (1 << _MIXED_BITS)
        return _MIXED_INOS | mixed


class VolumeFilesystem(Filesystem):
    """What is in a volume: whoever has a number can tell which one, see `tree_index_of`."""

    __slots__ = ("_counted",)

    def __init__(self, slot: int) -> None:
        super().__init__(slot, None)
        self._counted: dict[tuple[int, int], int] = {}

    def number_of_foreign(self, device: int, ino: int) -> int:
        key = (device, ino)
        slot = self.slot << INO_BITS
        return self._counted.setdefault(key, FOREIGN_INOS | slot | len(self._counted))


def tree_index_of(ino: int) -> int:
    """The slot of the volume that gave a number; something else's for all others."""
    return 0 if ino & _MIXED_INOS == _MIXED_INOS else (ino & (FOREIGN_INOS - 1)) >> INO_BITS


class Numbering:
    """What is taken of the numbers of one mount."""

    def __init__(self) -> None:
        self._next_slot = _TAKEN_SLOT + 1
        self._filesystems: dict[int, Filesystem] = {}  # by st_dev
        self._in_packs = 0

    def filesystem(self, fd: int, device: int) -> Filesystem:
        """Return the filesystem that a layer or the upper lies on, in the order of the stack."""
        known = self._filesystems.get(device)
        if known is None:
            slot = self.new_slot() if self._filesystems else 0
            known = Filesystem(slot, filesystem_uuid(fd))
            for other in self._filesystems.values():
                if other.uuid == known.uuid:
                    other.uuid = known.uuid = None  # a copied disk: its handles are the same, too
            self._filesystems[device] = known
        return known

    def new_slot(self) -> int:
        """Return a slot for a tree that shares no numbers: a volume's, since it changes."""
        self._next_slot += 1
        return self._next_slot - 1

    def first_of_pack(self, count: int) -> int:
        """Return the number of a pack's first object; it has `count` of them."""
        if self._in_packs + count > _MOST_IN_PACKS:
            return self.new_slot() << INO_BITS | 1
        self._in_packs += count
        return _END_OF_32_BITS - self._in_packs

    def close(self) -> None:
        """Let the first filesystem leave out what packs took, once all are there."""
        if self._in_packs:
            for filesystem in self._filesystems.values():
                if filesystem.slot == 0:
                    filesystem.end = _END_OF_32_BITS - self._in_packs
