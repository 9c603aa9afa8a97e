"""Directories as images of one file each: packs, and the kernel's own read-only filesystems."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.benchmarks.processes import run, run_tolerantly
from scripts.benchmarks.stacks import CACHE, kept

if TYPE_CHECKING:
    from scripts.benchmarks.processes import Command

OURS = Path(__file__).resolve().parents[2] / "venv/bin/overlayfs-py"

# The block size of packs; erofs 1.5 calls 64 KiB its largest cluster.
_SQUASH = ("-comp", "lz4", "-b", "128K", "-noappend", "-no-progress", "-quiet", "-processors", "2")
KINDS = ("pack", "pack-hc", "squashfs", "squashfs-hc", "erofs")


def image_of(directory: Path, kind: str) -> Path:
    """Return the image of one of KINDS of a directory that never changes, made on first use."""
    images = CACHE / "images"
    images.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(bytes(directory)).hexdigest()[:16]
    return kept(images / f"{name}.{kind}", lambda target: make_image(directory, kind, target))


def make_image(directory: Path, kind: str, target: Path) -> None:
    """Write the image of one of KINDS of a directory."""
    run_tolerantly(_command(directory, kind, target))


def _command(directory: Path, kind: str, target: Path) -> Command:
    match kind:
        case "pack":
            return [OURS, "layer", "pack", directory, "-o", target]
        case "pack-hc":
            return [OURS, "layer", "pack", "--best", directory, "-o", target]
        case "squashfs":
            return ["mksquashfs", directory, target, *_SQUASH]
        case "squashfs-hc":
            return ["mksquashfs", directory, target, *_SQUASH, "-Xhc"]
        case "erofs":
            return ["mkfs.erofs", "-zlz4", "-C65536", target, directory]
        case _:
            raise KeyError(kind)


def compressed_tar(directory: Path) -> Path:
    """Return a tar.gz of a directory, as GNU tar and gzip make it."""

    def make(target: Path) -> None:
        run(["tar", "-C", directory, "--xattrs", "--numeric-owner", "-czf", target, "."])

    name = hashlib.sha256(bytes(directory)).hexdigest()[:16]
    return kept(CACHE / f"{name}.tar.gz", make)
