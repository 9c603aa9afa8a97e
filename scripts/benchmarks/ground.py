"""Where uppers lie: on the layers' disk, on an ext4 made for the run, or in memory."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.benchmarks.mounts import unmount
from scripts.benchmarks.processes import run

if TYPE_CHECKING:
    from collections.abc import Iterator

# Enough for what a workload writes. Nothing is left for the kernel to allocate or initialise
# while others are measured.
_IMAGE_MIB = 12 << 10
_MAKE_EXT4 = ("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard")
_PAST_THE_CACHE = ("oflag=direct", "status=none")


class Ground(Enum):
    """What uppers lie on; the values are the words for it."""

    DISK = "disk"
    # With a journal, as most have it. Without one a new inode is looked for behind all those that
    # were deleted in the last minutes (fs/ext4/ialloc.c, recently_deleted).
    EXT4 = "ext4"
    MEMORY = "memory"


@contextmanager
def scratch_on(ground: Ground, cache: Path) -> Iterator[Path]:
    """Give a directory for mounts and uppers, below `cache` where it has a disk."""
    with tempfile.TemporaryDirectory(prefix="run-", dir=cache) as name:
        if ground is Ground.DISK:
            yield Path(name)
            return
        scratch = Path(name, "mounted")
        scratch.mkdir()
        _mount(ground, Path(name, "image"), scratch)
        try:
            yield scratch
        finally:
            unmount(scratch)


def _mount(ground: Ground, image: Path, scratch: Path) -> None:
    if ground is Ground.MEMORY:
        run(["mount", "-t", "tmpfs", "-o", "mode=0755", "bench", scratch])
        return
    run(["dd", "if=/dev/zero", f"of={image}", "bs=1M", f"count={_IMAGE_MIB}", *_PAST_THE_CACHE])
    run([*_MAKE_EXT4, image])
    # Through the host's cache, and into holes, the same 512 MiB and fsync take from 0.2 to 1.0 s,
    # by what was written before; so they take 0.14 to 0.16.
    device = run(["losetup", "--find", "--show", "--direct-io=on", image]).decode().strip()
    try:
        run(["mount", device, scratch])
    finally:
        run(["losetup", "--detach", device])  # at once, or when it is unmounted
