"""What is mounted, read from the kernel's own table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Mount:
    target: Path
    kind: str  # the type with its subtype: "ext4", "fuse.fuse-overlayfs-py"
    source: str
    options: frozenset[str]  # of the mount and of its filesystem


def _parse(line: str) -> Mount:
    # proc(5): id, parent, major:minor, root, target, options, optional fields, "-", type, source,
    # options of the filesystem
    about_mount, about_filesystem = line.split(" - ", 1)
    target, mount_options = about_mount.split()[4:6]
    kind, source, filesystem_options = about_filesystem.split()
    return Mount(
        target=Path(target.encode().decode("unicode_escape")),  # a blank is written \\040
        kind=kind,
        source=source,
        options=frozenset(mount_options.split(",") + filesystem_options.split(",")),
    )


def mounts_below(directory: Path, *, pid: int | str = "self") -> list[Mount]:
    """Return the mounts at or below `directory` as process `pid` sees them, oldest first."""
    table = Path(f"/proc/{pid}/mountinfo").read_text()
    mounts = map(_parse, table.splitlines())
    return [mount for mount in mounts if mount.target.is_relative_to(directory)]


def mounted_at(target: Path, *, pid: int | str = "self") -> Mount | None:
    """Return the topmost mount on exactly `target`."""
    here = [mount for mount in mounts_below(target, pid=pid) if mount.target == target]
    return here[-1] if here else None
