"""Files of a volume that somebody else changes while a user of the mount has them open."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.union.values import Volume
from tests.drivers.serving import Stack, serving
from tests.support.snapshot import snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def host(stack: Stack) -> Iterator[Path]:
    """A host directory, which is the volume `/volume` of the mount."""
    host = stack.base / "host"
    host.mkdir()
    spec = stack.spec._replace(volumes=(Volume(os.fsencode(host), b"/volume"),))
    with serving(spec, stack.plan):
        yield host


def test_who_appends_overwrites_nothing_that_another_appended(stack: Stack, host: Path) -> None:
    (host / "log").write_bytes(b"begin\n")
    with (
        (stack.target / "volume/log").open("ab", buffering=0) as ours,
        (host / "log").open("ab", buffering=0) as theirs,
    ):
        for number in range(3):
            ours.write(b"ours %d\n" % number)
            theirs.write(b"theirs %d\n" % number)

    expected = b"begin\n" + b"".join(b"ours %d\ntheirs %d\n" % (n, n) for n in range(3))
    assert (host / "log").read_bytes() == expected
    assert (stack.target / "volume/log").read_bytes() == expected


def test_who_appends_goes_on_at_the_end_of_what_another_cut_short(stack: Stack, host: Path) -> None:
    with (stack.target / "volume/log").open("ab", buffering=0) as log:
        log.write(b"before the rotation\n")
        os.truncate(host / "log", 0)
        log.write(b"after\n")

    assert (host / "log").read_bytes() == b"after\n"


_ON_A_DESCRIPTOR: dict[str, Callable[[int], object]] = {
    "write": lambda fd: os.pwrite(fd, b"!", 0),
    "truncate": lambda fd: os.ftruncate(fd, 1),
    "chmod": lambda fd: os.fchmod(fd, 0o777),
    "chown": lambda fd: os.fchown(fd, 1, 1),
    "utime": lambda fd: os.utime(fd, (0, 0)),
    "setxattr": lambda fd: os.setxattr(fd, "user.x", b"x"),
}


@pytest.mark.parametrize("change", _ON_A_DESCRIPTOR.values(), ids=_ON_A_DESCRIPTOR)
def test_an_open_file_is_not_the_one_that_another_puts_in_its_place(
    stack: Stack, host: Path, change: Callable[[int], object]
) -> None:
    (host / "file").write_bytes(b"old")
    fd = os.open(stack.target / "volume/file", os.O_RDWR)
    try:
        (host / "new").write_bytes(b"new")
        (host / "new").rename(host / "file")
        before = snapshot(host)

        change(fd)
        assert os.fstat(fd).st_nlink == 0
    finally:
        os.close(fd)

    assert snapshot(host) == before
    assert (stack.target / "volume/file").read_bytes() == b"new"


def test_who_has_read_a_file_goes_on_with_it_when_another_replaces_it(
    stack: Stack, host: Path
) -> None:
    (host / "file").write_bytes(b"old")
    with (stack.target / "volume/file").open("r+b", buffering=0) as opened:
        assert opened.read() == b"old"
        (host / "new").write_bytes(b"longer")
        (host / "new").rename(host / "file")

        opened.write(b"er")
        assert os.pread(opened.fileno(), 100, 0) == b"older"
        status = os.fstat(opened.fileno())
        assert (status.st_size, status.st_nlink) == (5, 0)

    assert (host / "file").read_bytes() == b"longer"


def test_a_reused_inode_number_shows_the_new_file(stack: Stack, host: Path) -> None:
    (host / "file").write_bytes(b"old")
    fd = os.open(stack.target / "volume/file", os.O_RDWR)
    number = (host / "file").stat().st_ino
    (host / "new").write_bytes(b"longer")
    (host / "new").rename(host / "file")
    with contextlib.suppress(OSError):
        os.pread(fd, 100, 0)
    os.close(fd)
    # Which number a new file gets is the filesystem's choice; all of them must show what is theirs.
    for count in range(64):
        (host / f"{count}").write_bytes(b"%d" % count)
        if (host / f"{count}").stat().st_ino == number:
            break

    for count, file in ((file.name, file) for file in (stack.target / "volume").glob("[0-9]*")):
        assert file.read_text() == count
