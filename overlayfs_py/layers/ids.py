"""Owner ids as they lie on disk and as the mount shows them."""

from __future__ import annotations

from overlayfs_py.named_tuple import NamedTuple

_KERNEL_OVERFLOW = "/proc/sys/kernel/%s"


class IdRange(NamedTuple):
    """`length` ids from `disk` on disk are seen from `seen` on in the mount."""

    disk: int
    seen: int
    length: int


class IdMap(NamedTuple):
    """Which uid and gid the mount shows for those on disk; empty maps show them unchanged.

    Squashing only changes what is shown at the very end: what is created keeps its creator's id,
    and what is copied up its owner's, as with fuse-overlayfs.
    """

    uids: tuple[IdRange, ...] = ()
    gids: tuple[IdRange, ...] = ()
    squash_uid: int | None = None  # every uid is shown as this one
    squash_gid: int | None = None

    @property
    def changes_nothing(self) -> bool:
        """Whether every id stands for itself, squashing aside."""
        return not self.uids and not self.gids

    def seen_uid(self, disk: int) -> int:
        """The uid that one on disk stands for; the overflow uid where no range holds it."""
        return _to_seen(self.uids, disk, "overflowuid") if self.uids else disk

    def seen_gid(self, disk: int) -> int:
        """The gid that one on disk stands for; the overflow gid where no range holds it."""
        return _to_seen(self.gids, disk, "overflowgid") if self.gids else disk

    def disk_uid(self, seen: int) -> int:
        """The uid to write for one that a user of the mount gave."""
        return _to_disk(self.uids, seen, "overflowuid") if self.uids else seen

    def disk_gid(self, seen: int) -> int:
        """The gid to write for one that a user of the mount gave."""
        return _to_disk(self.gids, seen, "overflowgid") if self.gids else seen


def _to_seen(ranges: tuple[IdRange, ...], disk: int, overflow: str) -> int:
    for r in ranges:
        if r.disk <= disk < r.disk + r.length:
            return r.seen + disk - r.disk
    return _overflow_id(overflow)


def _to_disk(ranges: tuple[IdRange, ...], seen: int, overflow: str) -> int:
    for r in ranges:
        if r.seen <= seen < r.seen + r.length:
            return r.disk + seen - r.seen
    return _overflow_id(overflow)


def _overflow_id(name: str) -> int:
    with open(_KERNEL_OVERFLOW % name) as setting:
        return int(setting.read())
