"""Layers at rest: packs beside directories and beside the kernel's own compressed filesystems."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.benchmarks import images, mounts, programs, reading
from scripts.benchmarks.mounts import Place
from scripts.benchmarks.processes import (
    FailedError,
    count_bytes,
    count_lines,
    require,
    run,
    run_tolerantly,
)
from scripts.benchmarks.sides import DIRECT, KERNEL, PACKS
from scripts.benchmarks.workload import Family

if TYPE_CHECKING:
    from scripts.benchmarks.session import Session
    from scripts.benchmarks.sides import Side
    from scripts.benchmarks.workload import Scale

FAMILY = Family()

_IMAGES = ("squashfs", "erofs", "squashfuse")
_SIDES = (KERNEL, DIRECT, PACKS, *_IMAGES)
_PAGE = 4096
_LEAST = 64 << 10  # bytes of a file that is read at random
_LONG = 1 << 20  # bytes of a file that is read in sequence
_DROP = Path("/proc/sys/vm/drop_caches")


def _takes_part(side: Side) -> bool:
    return side.name in _SIDES


def _add(name: str, *cases: str):  # noqa: ANN202 - what Family.add returns
    return FAMILY.add(name, *cases, also=(PACKS, *_IMAGES), applies=_takes_part, is_read_only=True)


@_add("rest-find", "at rest: find -printf %s, first", "at rest: find -printf %s, again")
def find(session: Session) -> None:
    for case in ("at rest: find -printf %s, first", "at rest: find -printf %s, again"):
        with session.timed(case, len(session.stack.entries) + 1):
            seen = count_lines(["find", session.root, "-printf", "%s\n"])
        # mkfs.erofs and mksquashfs add nothing, and leave nothing out.
        require(seen == len(session.stack.entries) + 1, f"find saw {seen} entries")


@_add("rest-tar", "at rest: tar c, first", "at rest: tar c, again")
def tar(session: Session) -> None:
    for case in ("at rest: tar c, first", "at rest: tar c, again"):
        _tar(session, case)


@_add("rest-cold", "cold disk: tar c", "cold disk: perl starts")
def cold(session: Session) -> None:
    _forget_all()
    with session.timed("cold disk: perl starts"):
        printed = run(["chroot", session.root, "perl", "-MPOSIX", "-e", "print floor(7.5)"])
    require(printed == b"7", f"perl printed {printed!r}")
    _forget_all()
    _tar(session, "cold disk: tar c")


@_add("rest-exec", "at rest: chroot sh -c 'true; id'")
def execute(session: Session) -> None:
    programs.repeat_chroot(session, "at rest: chroot sh -c 'true; id'")


@_add("rest-random", "at rest: random 4 KiB, first", "at rest: random 4 KiB, again")
def read_at_random(session: Session) -> None:
    chosen = random.Random(1)
    large = [name for name in session.stack.files if session.stack.size(name) >= _LEAST]
    places = [
        (str(session.root / name), chosen.randrange(session.stack.size(name) - _PAGE) & -_PAGE)
        for name in chosen.choices(large, k=session.scale.files)
    ]
    for case in ("at rest: random 4 KiB, first", "at rest: random 4 KiB, again"):
        with session.timed(case, len(places)):
            got = sum(_read_page(path, offset) for path, offset in places)
        require(got == _PAGE * len(places), f"read {got} bytes")


@_add("rest-sequence", "at rest: read in sequence, first", "at rest: read in sequence, again")
def read_in_sequence(session: Session) -> None:
    long = [name for name in session.stack.files if session.stack.size(name) >= _LONG]
    expected = sum(map(session.stack.size, long))
    for case in ("at rest: read in sequence, first", "at rest: read in sequence, again"):
        with session.timed(case, expected >> 20):
            got = sum(reading.read_whole(str(session.root / name)) for name in long)
        require(got == expected, f"read {got} of {expected} bytes")


UNPACKED = "tar.gz until it can be mounted"


@FAMILY.add(
    "rest-unpack",
    UNPACKED,
    also=(PACKS,),
    applies=lambda side: side.name in (KERNEL, PACKS),
    is_mounted=False,
)
def unpack(session: Session) -> None:
    source = images.compressed_tar(session.stack.merged)
    count_bytes(["cat", source])
    if session.side.name == PACKS:
        command = [images.OURS, "layer", "pack", source, "-o", session.place.base / "layer.pack"]
    else:
        command = ["tar", "-C", session.place.upper, "--xattrs", "--numeric-owner", "-xzf", source]
    with session.timed(UNPACKED):
        run(command)


MILLION = "a million entries: mount and first stat"
_MILLION_MEMORY = "a million entries: the daemon's memory after the first stat"


def _forest(scale: Scale) -> str:
    return f"forest-{2 * scale.walked}"


@FAMILY.add(
    "rest-million",
    MILLION,
    stack=_forest,
    also=(PACKS,),
    applies=lambda side: side.name in (KERNEL, DIRECT, PACKS),
    is_mounted=False,
)
def mount_a_million(session: Session) -> None:
    place = Place(session.place.base / "million", session.stack)
    place.make()
    wanted = _one_of_many(session)
    if session.side.background is None:
        raise FailedError("nothing to mount")
    command = session.side.background(place)
    try:
        with session.timed(MILLION):
            run_tolerantly(command)
            size = (place.target / wanted).lstat().st_size
    finally:
        mounts.unmount(place.target)
    require(size == (session.stack.layers[0] / wanted).lstat().st_size, f"its size is {size}")


@FAMILY.add(
    "rest-million-memory",
    _MILLION_MEMORY,
    stack=_forest,
    unit="B",
    also=(PACKS,),
    applies=lambda side: side.name in (DIRECT, PACKS),
    is_steady=True,
)
def hold_a_million(session: Session) -> None:
    (session.root / _one_of_many(session)).lstat()
    session.note(_MILLION_MEMORY, session.served_by.resident_bytes())


def _one_of_many(session: Session) -> Path:
    layer = session.stack.layers[0]
    tree = max(layer.iterdir())
    return next(tree.iterdir()).relative_to(layer)


_SIZES = {
    "size: tar.gz": images.compressed_tar,
    **{
        f"size: {kind}": lambda directory, kind=kind: images.image_of(directory, kind)
        for kind in images.KINDS
    },
}


@FAMILY.add(
    "rest-size",
    *_SIZES,
    unit="MB",
    applies=lambda side: side.name == KERNEL,
    is_mounted=False,
    is_steady=True,
)
def sizes(session: Session) -> None:
    """What one layer takes up; the side says nothing here."""
    for case, made in _SIZES.items():
        session.note(case, made(session.stack.merged).stat().st_size / 1e6)


def _tar(session: Session, case: str) -> None:
    least = sum(map(session.stack.size, session.stack.files))
    with session.timed(case, len(session.stack.entries) + 1):
        written = count_bytes(["tar", "-C", session.root, "-c", "."])
    require(written > least, f"tar wrote {written} bytes, the files alone have {least}")


def _forget_all() -> None:
    """Empty the host's caches, those of the images and layers among them."""
    os.sync()
    _DROP.write_text("3")


def _read_page(path: str, offset: int) -> int:
    file = os.open(path, os.O_RDONLY)
    try:
        return len(os.pread(file, _PAGE, offset))
    finally:
        os.close(file)
