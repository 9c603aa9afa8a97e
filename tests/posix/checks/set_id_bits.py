"""What a change of a file's data or owner costs it: set-id bits, capabilities (fs/attr.c)."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
from typing import TYPE_CHECKING

from tests.posix import calls
from tests.posix.descriptors import create, opened, overwrite
from tests.posix.expecting import mode_of, refused
from tests.posix.processes import ALICE, as_user
from tests.posix.registry import check

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Change = Callable[[Path], object]

GROUP = 2000
# (before, after a change by the owner, who is not in the group)
_OUTSIDE = ((0o2666, 0o666), (0o2676, 0o676), (0o4666, 0o666), (0o6777, 0o777), (0o6666, 0o666))
# (before, after one by the owner, who is in it): the bit alone is no privilege
_INSIDE = ((0o2666, 0o2666), (0o2676, 0o676), (0o6666, 0o2666), (0o6777, 0o777))
_CAPABILITY = "security.capability"
_RAW_NETWORK = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)  # vfs_cap_data, version 2


def _write(path: Path) -> None:
    overwrite(path, b"x")


def _append(path: Path) -> None:
    with opened(path, os.O_WRONLY | os.O_APPEND) as descriptor:
        os.write(descriptor, b"x")


def _truncate(path: Path) -> None:
    os.truncate(path, 3)


def _truncate_at_open(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))


def _allocate(path: Path) -> None:
    with opened(path, os.O_RDWR) as descriptor:
        calls.fallocate(descriptor, 0, 0, 9000)


def _punch(path: Path) -> None:
    with opened(path, os.O_RDWR) as descriptor:
        mode = calls.FALLOC_FL_PUNCH_HOLE | calls.FALLOC_FL_KEEP_SIZE
        calls.fallocate(descriptor, mode, 0, 4096)


def _copy(path: Path) -> None:
    with opened(path, os.O_RDWR) as descriptor:
        assert os.copy_file_range(descriptor, descriptor, 100, 0, 4096) == 100


_CHANGES = (_write, _append, _truncate, _truncate_at_open, _copy)
_ALLOCATIONS = (_allocate, _punch)


def _each(
    root: Path, changes: tuple[Change, ...], modes: tuple[tuple[int, int], ...], groups: list[int]
) -> None:
    for change in changes:
        for before, after in modes:
            path = root / f"{change.__name__}{before:o}"
            create(path, b"x" * 5000)
            os.chown(path, ALICE, GROUP)
            os.chmod(path, before)
            as_user(lambda change=change, path=path: change(path), groups=groups)
            assert mode_of(path) == after, f"{path.name}: {mode_of(path):o} instead of {after:o}"


@check()
def a_change_from_outside_the_group_clears_all(root: Path) -> None:
    _each(root, _CHANGES, _OUTSIDE, [])


@check()
def a_change_from_inside_leaves_set_group_id_of_no_program(root: Path) -> None:
    _each(root, _CHANGES, _INSIDE, [GROUP])


@check(needs="fallocate")
def an_allocation_clears_them_likewise(root: Path) -> None:
    _each(root, _ALLOCATIONS, _OUTSIDE, [])
    _each(root, (_punch,), ((0o2766, 0o2766),), [GROUP])


@check()
def a_layers_file_loses_them_too(root: Path) -> None:
    os.chmod(root / "setid", 0o2666)
    os.chown(root / "setid", 0, GROUP)
    as_user(lambda: overwrite(root / "setid", b"x"))
    assert mode_of(root / "setid") == 0o666


@check(needs="fallocate")
def root_without_the_capability_clears_them(root: Path) -> None:
    _allocate(root / "file")
    os.chmod(root / "setid", 0o6755)
    command = ["setpriv", "--bounding-set=-fsetid", "fallocate", "-l", "9000", root / "setid"]
    subprocess.run(command, check=True)
    assert mode_of(root / "setid") == 0o755


@check(needs="fallocate")
def roots_allocation_keeps_them(root: Path) -> None:
    _allocate(root / "setid")
    assert mode_of(root / "setid") == 0o6755


@check()
def an_owners_change_of_group_clears_them(root: Path) -> None:
    for before, groups, after in (
        (0o2766, [GROUP], 0o2766),
        (0o2766, [], 0o766),
        (0o6777, [GROUP], 0o777),
    ):
        path = root / f"{before:o}{len(groups)}"
        create(path)
        os.chown(path, ALICE, GROUP)
        os.chmod(path, before)
        as_user(lambda path=path: os.chown(path, -1, ALICE), groups=groups)
        assert mode_of(path) == after, f"{before:o} {groups}: {mode_of(path):o}"


def _loses_capability(root: Path, change: Change) -> None:
    path = root / f"capable{change.__name__}"
    create(path, b"x" * 5000)
    os.setxattr(path, _CAPABILITY, _RAW_NETWORK)
    assert os.getxattr(path, _CAPABILITY) == _RAW_NETWORK
    change(path)
    with refused(errno.ENODATA):
        os.getxattr(path, _CAPABILITY)


@check()
def roots_change_takes_capabilities_away(root: Path) -> None:
    for change in _CHANGES:
        _loses_capability(root, change)


@check(needs="fallocate")
def roots_allocation_takes_capabilities_away(root: Path) -> None:
    for change in _ALLOCATIONS:
        _loses_capability(root, change)
