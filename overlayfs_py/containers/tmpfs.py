"""A filesystem in memory at a place of a container, with what mount(8) calls its options."""

from __future__ import annotations

import os

from overlayfs_py.containers import masks
from overlayfs_py.late_import import late_pattern
from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.syscalls import mounts

_FLAGS = {
    "ro": mounts.MS_RDONLY,
    "nosuid": mounts.MS_NOSUID,
    "nodev": mounts.MS_NODEV,
    "noexec": mounts.MS_NOEXEC,
    "noatime": mounts.MS_NOATIME,
    "nodiratime": mounts.MS_NODIRATIME,
}
_CLEARED = {"rw": "ro", "suid": "nosuid", "dev": "nodev", "exec": "noexec", "atime": "noatime"}
_DATA = late_pattern(
    r"(?:size=[0-9]+[kmgKMG%]?|nr_inodes=[0-9]+[kmgKMG]?|mode=[0-7]{1,4}|[ug]id=[0-9]{1,10})"
)
_WITHOUT_EFFECT = frozenset({"tmpcopyup", "notmpcopyup", "private", "rprivate", "slave", "rslave"})


class Tmpfs(NamedTuple):
    """One that is not mounted yet."""

    target: bytes
    flags: int = masks.QUIET  # docker's
    data: bytes = b"mode=1777"

    @classmethod
    def parse(cls, target: bytes, options: str) -> Tmpfs:
        """Return what `size=64m,mode=700,exec` means.

        Raises:
            ValueError: an option is not known.
        """
        flags, data = masks.QUIET, ["mode=1777"]
        for option in filter(None, options.split(",")):
            if option in _FLAGS:
                flags |= _FLAGS[option]
            elif option in _CLEARED:
                flags &= ~_FLAGS[_CLEARED[option]]
            elif _DATA.fullmatch(option):
                data.append(option)
            elif option not in _WITHOUT_EFFECT:
                raise ValueError(f"{option}: not known")
        return cls(target, flags, ",".join(data).encode())

    def options(self) -> list[str]:
        """The same, as `parse` and an OCI runtime take them."""
        flags = [name for name, flag in _FLAGS.items() if self.flags & flag]
        return [*flags, *self.data.decode().split(",")]

    def mount(self) -> None:
        """Mount it, on a directory that is made where none is; / has to be the container's."""
        os.makedirs(self.target, 0o755, exist_ok=True)
        mounts.mount(b"tmpfs", self.target, b"tmpfs", self.flags, self.data)
