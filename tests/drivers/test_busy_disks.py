"""What a union lies on can be unmounted as soon as the union is, as under kernel overlayfs."""

from __future__ import annotations

import os
import signal
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from overlayfs_py.layers.root import clone_around
from overlayfs_py.syscalls.mounts import MNT_DETACH, mount, umount
from tests.drivers.serving import Stack, start, stop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def disk(place: Path) -> Iterator[None]:
    mount(b"tmpfs", os.fsencode(place), b"tmpfs", 0, b"")
    try:
        yield
    finally:
        if os.path.ismount(place):
            umount(os.fsencode(place), MNT_DETACH)


def test_no_matter_whether_the_daemon_has_ended(stack: Stack, scratch: Path) -> None:
    place = scratch / "disk"
    place.mkdir()
    with disk(place):
        on_it = Stack(place)
        (on_it.lower / "below").write_text("below")
        daemon = start(on_it.spec, stack.plan)
        try:
            (stack.target / "file").write_text("x")
            assert (stack.target / "below").read_text() == "below"
            daemon.signal(signal.SIGSTOP)
            umount(os.fsencode(stack.target))
            umount(os.fsencode(place))
            assert not os.path.ismount(place)
        finally:
            daemon.signal(signal.SIGCONT)
            status = daemon.wait()
            words = stop(daemon)
    assert (status, words) == (0, "")


def test_directories_of_one_mount_are_opened_in_a_clone_of_it(tmp_path: Path) -> None:
    paths = [tmp_path / "upper", tmp_path / "work"]
    found = reopened(opened(paths), paths)
    for fd, path in zip(found, paths, strict=True):
        assert os.path.samestat(os.fstat(fd), path.stat())
        assert os.readlink(f"/proc/self/fd/{fd}") == f"/{path.name}"  # from the clone's root on
        os.close(fd)


def test_those_of_two_mounts_stay_as_they_are(tmp_path: Path) -> None:
    paths = [tmp_path / "upper", tmp_path / "work"]
    paths[1].mkdir()
    with disk(paths[1]):
        fds = opened(paths)
        assert reopened(fds, paths) == fds
        for fd in fds:
            os.close(fd)


def opened(paths: list[Path]) -> list[int]:
    for path in paths:
        path.mkdir(exist_ok=True)
    return [os.open(path, os.O_RDONLY) for path in paths]


def reopened(fds: list[int], paths: list[Path]) -> list[int]:
    names = [os.fsencode(path) for path in paths]
    clone = clone_around(names)
    assert clone is not None
    with closing(clone):
        return clone.reopen(fds, names)
