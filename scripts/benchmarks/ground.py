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

# Enough for what a workload writes; the file is sparse. Nothing is left for the kernel to
# initialise while others are measured.
_IMAGE_BYTES = 12 << 30
_MAKE_EXT4 = ("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard")


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
    with image.open("wb") as file:
        file.truncate(_IMAGE_BYTES)
    run([*_MAKE_EXT4, image])
    run(["mount", "-o", "loop", image, scratch])
