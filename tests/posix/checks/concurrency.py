"""Several processes at the same names at the same time."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from tests.posix.descriptors import create, opened, overwrite
from tests.posix.expecting import is_absent, names
from tests.posix.prepared import BIG, COUNT
from tests.posix.processes import together
from tests.posix.registry import check

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MANY = 4


def _wins(action: Callable[[], object]) -> bool:
    """Do it; say whether it was done, and not refused because another was first."""
    try:
        action()
    except (FileExistsError, FileNotFoundError):
        return False
    return True


@check()
def one_of_many_creates_a_file(root: Path) -> None:
    for name in ("new", "gone", "dir/gone"):
        outcomes = together([partial(_wins, partial(create, root / name))] * _MANY)
        assert outcomes.count(True) == 1, name


@check()
def one_of_many_makes_a_directory(root: Path) -> None:
    for name in ("new", "gonedir"):
        outcomes = together([partial(_wins, partial(os.mkdir, root / name))] * _MANY)
        assert outcomes.count(True) == 1, name


@check()
def one_of_many_removes_a_name(root: Path) -> None:
    for name in ("file", "link", "fifo"):
        outcomes = together([partial(_wins, partial(os.unlink, root / name))] * _MANY)
        assert outcomes.count(True) == 1, name
        assert is_absent(root / name)


@check()
def one_of_many_links_a_name(root: Path) -> None:
    link = partial(os.link, root / "file", root / "new")
    assert together([partial(_wins, link)] * _MANY).count(True) == 1
    assert os.lstat(root / "file").st_nlink == 2


@check()
def each_of_many_renames_some_and_none_is_lost(root: Path) -> None:
    def move(target: str) -> int:
        names_left = sorted(os.listdir(root / "full"))
        return sum(
            _wins(partial(os.rename, root / "full" / name, root / target / name))
            for name in names_left
        )

    moved = together([partial(move, target) for target in ("dir", "empty", "opaque")])
    assert sum(moved) == COUNT
    assert names(root / "full") == set()
    found = names(root / "dir") | names(root / "empty") | names(root / "opaque")
    assert {name for name in found if name.isdigit()} == {f"{n:02}" for n in range(COUNT)}


@check()
def many_write_their_parts_of_one_file(root: Path) -> None:
    size = len(BIG) // _MANY

    def write(part: int) -> None:
        for offset in range(part * size, (part + 1) * size, 8192):
            overwrite(root / "big", bytes([part + 1]) * 8192, offset)

    together([partial(write, part) for part in range(_MANY)])
    assert (root / "big").read_bytes() == b"".join(bytes([n + 1]) * size for n in range(_MANY))


@check()
def many_open_one_file_for_writing_first(root: Path) -> None:
    def write(part: int) -> None:
        with opened(root / "file", os.O_RDWR) as descriptor:
            os.pwrite(descriptor, b"%d" % part, part)

    together([partial(write, part) for part in range(_MANY)])
    assert (root / "file").read_bytes() == b"0123ared\n"


@check()
def readers_of_a_file_that_is_replaced_see_one_or_the_other(root: Path) -> None:
    def replace() -> set[bytes]:
        for number in range(30):
            create(root / "tmp", b"%d" % (number % 2) * 5000)
            os.rename(root / "tmp", root / "big")
        return set()

    def read() -> set[bytes]:
        return {(root / "big").read_bytes() for _ in range(100)}

    seen = set[bytes]().union(*together([replace, read, read]))
    assert seen <= {BIG, b"0" * 5000, b"1" * 5000}


@check()
def names_made_by_many_are_all_there(root: Path) -> None:
    def make(part: int) -> None:
        for number in range(25):
            create(root / f"full/{part}-{number}")
            os.mkdir(root / f"dir/sub/{part}-{number}")

    together([partial(make, part) for part in range(_MANY)])
    assert len(names(root / "full")) == COUNT + 25 * _MANY
    assert len(names(root / "dir/sub")) == 1 + 25 * _MANY


@check()
def names_removed_by_many_are_all_gone(root: Path) -> None:
    def remove() -> int:
        return sum(
            _wins(partial(os.unlink, root / "full" / name)) for name in os.listdir(root / "full")
        )

    assert sum(together([remove] * _MANY)) == COUNT
    os.rmdir(root / "full")
    assert is_absent(root / "full")


@check()
def a_directory_is_renamed_while_others_work_in_it(root: Path) -> None:
    def work() -> None:
        with opened(root / "dir", os.O_DIRECTORY) as directory:
            for number in range(30):
                with opened(f"f{number}", os.O_CREAT | os.O_WRONLY, dir_fd=directory):
                    pass

    def rename() -> None:
        for _ in range(15):
            os.rename(root / "dir", root / "moved")
            os.rename(root / "moved", root / "dir")

    with opened(root / "dir", os.O_DIRECTORY) as directory:

        def work_there() -> None:
            os.fchdir(directory)
            for number in range(30):
                with opened(f"g{number}", os.O_CREAT | os.O_WRONLY):
                    pass

        together([rename, work_there])
    work()
    wanted = {f"f{number}" for number in range(30)} | {f"g{number}" for number in range(30)}
    assert names(root / "dir") == {"a", "b", "sub"} | wanted
