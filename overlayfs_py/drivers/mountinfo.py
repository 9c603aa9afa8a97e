"""What is mounted where, as /proc/self/mountinfo tells it (proc(5))."""

from __future__ import annotations

from overlayfs_py.late_import import late_pattern
from overlayfs_py.named_tuple import NamedTuple

_MOUNTINFO = "/proc/self/mountinfo"
_OWNER = late_pattern(rb"[ ,]user_id=(\d+)")
_ESCAPE = late_pattern(rb"\\([0-7]{3})")


class Mount(NamedTuple):
    """One line of mountinfo."""

    ident: int  # unique among the mounts that exist
    device: bytes  # b"MAJOR:MINOR"
    target: bytes
    kind: bytes  # with the subtype: b"fuse.fuse-overlayfs-py"
    source: bytes
    owner: int | None = None  # of a mount of FUSE: the user that has mounted it

    @property
    def inquiries(self) -> bytes:
        """The name of the socket at which its daemon is asked, see `inquiries`."""
        return b"\0overlayfs-py/mount/" + self.device


def topmost(target: bytes) -> Mount | None:
    """Return the mount that a path walk to `target` (absolute, no symlinks) ends in, if any."""
    with open(_MOUNTINFO, "rb") as file:
        found = [mount for mount in _read(file.read()) if mount.target == target]
    # A mount on top of another is listed after it.
    return found[-1] if found else None


def below(target: bytes) -> list[Mount]:
    """Return the mounts whose mount point lies below `target`, in the order that they were made."""
    with open(_MOUNTINFO, "rb") as file:
        mounts = _read(file.read())
    return [mount for mount in mounts if mount.target.startswith(target.rstrip(b"/") + b"/")]


def _read(text: bytes) -> list[Mount]:
    return [_parse(line) for line in text.splitlines()]


def _parse(line: bytes) -> Mount:
    # 36 35 98:0 /root /target options [optional fields] - type source super-options
    before, _, after = line.partition(b" - ")
    fields = before.split(b" ")
    kind, source = after.split(b" ")[:2]
    owner = _OWNER.search(after)
    return Mount(
        int(fields[0]),
        fields[2],
        _unescape(fields[4]),
        kind,
        _unescape(source),
        None if owner is None else int(owner[1]),
    )


def _unescape(field: bytes) -> bytes:
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), field)
