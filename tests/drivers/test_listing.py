"""Reading directories."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.syscalls import mounts
from tests.drivers.serving import Stack, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANY = 100_000


def test_dots_and_numbers(mount: Path) -> None:
    (mount / "dir" / "below").mkdir(parents=True)
    listing = subprocess.check_output(["ls", "-1aiU", mount / "dir"], text=True)
    inos = {name: int(ino) for ino, name in map(str.split, listing.splitlines())}

    assert inos == {
        ".": (mount / "dir").stat().st_ino,
        "..": mount.stat().st_ino,
        "below": (mount / "dir" / "below").stat().st_ino,
    }


@pytest.fixture
def lower_in_memory(stack: Stack) -> Iterator[Path]:
    """Where a hundred thousand files come into being in 1 s: on ext4 it may be 40."""
    target = os.fsencode(stack.lower)
    mounts.mount(b"tmpfs", target, b"tmpfs", 0, b"mode=755,nr_inodes=200k")
    yield stack.lower
    mounts.umount(target)


def test_a_hundred_thousand_names(stack: Stack, lower_in_memory: Path) -> None:
    for number in range(MANY):
        os.close(os.open(lower_in_memory / f"file-{number:06}", os.O_CREAT | os.O_WRONLY))
    expected = [f"file-{number:06}" for number in range(MANY)]

    with serving(stack.spec, stack.plan):
        begun = time.monotonic()
        names = os.listdir(stack.target)
        listed_s = time.monotonic() - begun
        sizes = {entry.stat().st_size for entry in os.scandir(stack.target)}

    print(f"{MANY} names in {listed_s:.2f} s")
    assert sorted(names) == expected
    assert sizes == {0}


def test_a_listing_survives_the_removal_of_what_it_lists(mount: Path) -> None:
    """What rm -r does: every name once, though those before it are gone."""
    for number in range(3000):
        (mount / f"file-{number}").touch()
    seen = []
    with os.scandir(mount) as entries:
        for entry in entries:
            seen.append(entry.name)
            os.unlink(entry.path)

    assert len(seen) == len(set(seen)) == 3000
    assert os.listdir(mount) == []


def test_rewinddir_looks_anew(mount: Path) -> None:
    (mount / "first").touch()
    fd = os.open(mount, os.O_RDONLY)
    before = os.listdir(fd)
    (mount / "second").touch()
    after = os.listdir(fd)  # listdir of a descriptor rewinds it
    os.close(fd)

    assert before == ["first"]
    assert sorted(after) == ["first", "second"]


def test_a_removed_directory_lists_nothing(mount: Path) -> None:
    (mount / "dir").mkdir()
    fd = os.open(mount / "dir", os.O_RDONLY)
    (mount / "dir").rmdir()
    try:
        names = os.listdir(fd)
    except FileNotFoundError:  # what Linux's own filesystems say
        names = []
    os.close(fd)

    assert names == []


def test_find_and_remove_a_deep_tree(mount: Path) -> None:
    directory = mount
    for depth in range(50):
        directory = directory / f"level-{depth}"
        directory.mkdir()
        (directory / "file").touch()

    found = subprocess.check_output(["find", mount, "-type", "f"], text=True).splitlines()
    subprocess.run(["rm", "-r", mount / "level-0"], check=True)

    assert len(found) == 50
    assert os.listdir(mount) == []
