"""readdir(3): each name once, offsets that last, while names come and go."""

from __future__ import annotations

import errno
import itertools
import os
import stat
from typing import TYPE_CHECKING

from tests.posix.calls import list_directory, read_directory
from tests.posix.descriptors import create, opened
from tests.posix.expecting import names, refused
from tests.posix.prepared import COUNT
from tests.posix.registry import check

if TYPE_CHECKING:
    from pathlib import Path

_MANY = 300
_SMALL = 512  # bytes of buffer: a dozen entries
_DT = {
    stat.S_IFREG: 8, stat.S_IFDIR: 4, stat.S_IFLNK: 10, stat.S_IFIFO: 1, stat.S_IFSOCK: 12,
    stat.S_IFCHR: 2, stat.S_IFBLK: 6,
}  # fmt: skip
_PREPARED = {f"{number:02}" for number in range(COUNT)}
_DOTS = {b".", b".."}


def _fill(directory: Path) -> set[str]:
    wanted = {f"a-name-of-some-length-{number}" for number in range(_MANY)}
    for name in wanted:
        create(directory / name)
    return wanted


def _as_bytes(wanted: set[str]) -> set[bytes]:
    return {os.fsencode(name) for name in wanted}


@check()
def dot_and_dot_dot_are_listed_once(root: Path) -> None:
    for name in ("dir", "empty", "opaque"):
        with opened(root / name) as directory:
            listed = [entry.name for entry in list_directory(directory)]
        assert sorted(listed)[:2] == [b".", b".."]
        assert len(listed) == len(set(listed))


@check()
def the_listing_tells_kinds(root: Path) -> None:
    with opened(root) as directory:
        for entry in list_directory(directory):
            if entry.name not in _DOTS:
                kind = stat.S_IFMT(os.lstat(os.path.join(os.fsencode(root), entry.name)).st_mode)
                assert entry.kind in (_DT[kind], 0), entry


@check()
def the_listing_tells_inode_numbers(root: Path) -> None:
    for path in (root, root / "dir", root / "full"):
        with opened(path) as directory:
            for entry in list_directory(directory):
                if entry.name != b"..":
                    found = os.lstat(os.path.join(os.fsencode(path), entry.name))
                    assert entry.ino == found.st_ino, entry


@check()
def the_listing_tells_the_parents_inode_number(root: Path) -> None:
    with opened(root / "dir/sub") as directory:
        found = {entry.name: entry.ino for entry in list_directory(directory)}
    assert found[b".."] == os.lstat(root / "dir").st_ino


@check()
def the_listing_tells_inode_numbers_after_changes(root: Path) -> None:
    with opened(root / "full/01", os.O_WRONLY) as descriptor:
        os.write(descriptor, b"x")
    os.chmod(root / "full/02", 0o600)
    create(root / "full/new")
    with opened(root / "full") as directory:
        found = {entry.name: entry.ino for entry in list_directory(directory)}
    for name in ("01", "02", "03", "new"):
        assert found[name.encode()] == os.lstat(root / "full" / name).st_ino, name


@check()
def a_long_directory_lists_each_name_once(root: Path) -> None:
    wanted = _fill(root / "full") | _PREPARED
    assert names(root / "full") == wanted
    with opened(root / "full") as directory:
        listed = [entry.name for entry in list_directory(directory, _SMALL)]
    assert sorted(listed) == sorted(_as_bytes(wanted) | _DOTS)


@check()
def additions_and_removals_show_in_the_next_listing(root: Path) -> None:
    for name in ("00", "01", "05"):
        os.unlink(root / "full" / name)
    create(root / "full/new")
    os.mkdir(root / "full/05")
    assert names(root / "full") == (_PREPARED - {"00", "01"}) | {"new"}


@check()
def rewinding_lists_anew(root: Path) -> None:
    with opened(root / "full") as directory:
        list(list_directory(directory))
        create(root / "full/new")
        os.unlink(root / "full/00")
        os.lseek(directory, 0, os.SEEK_SET)
        found = {entry.name for entry in list_directory(directory)}
    assert found == _as_bytes((_PREPARED - {"00"}) | {"new"}) | _DOTS


@check()
def names_removed_while_listing_hide_no_other(root: Path) -> None:
    _fill(root / "full")
    with opened(root / "full") as directory:
        for entry in list_directory(directory, _SMALL):
            if entry.name not in _DOTS:
                os.unlink(entry.name, dir_fd=directory)
    assert names(root / "full") == set()
    os.rmdir(root / "full")


@check()
def names_added_while_listing_hide_no_other(root: Path) -> None:
    wanted = _as_bytes(_fill(root / "full") | _PREPARED)
    seen = []
    with opened(root / "full") as directory:
        # A filesystem may list what is added: then this would not end by itself.
        for number, entry in enumerate(list_directory(directory, _SMALL)):
            seen.append(entry.name)
            if number < _MANY:
                create(root / "full" / f"added{number}")
    assert wanted <= set(seen)
    assert len(seen) == len(set(seen))


@check()
def names_renamed_while_listing_hide_no_other(root: Path) -> None:
    wanted = _as_bytes(_fill(root / "full"))
    seen = []
    with opened(root / "full") as directory:
        for entry in list_directory(directory, _SMALL):
            seen.append(entry.name)
            if entry.name.isdigit():
                os.rename(
                    entry.name, b"was" + entry.name, src_dir_fd=directory, dst_dir_fd=directory
                )
    assert wanted <= set(seen)


@check()
def every_position_can_be_sought_again(root: Path) -> None:
    with opened(root / "full") as directory:
        listed = list(list_directory(directory, _SMALL))
        for here, after in reversed(list(itertools.pairwise(listed))):
            os.lseek(directory, here.next, os.SEEK_SET)
            assert read_directory(directory)[0].name == after.name
        os.lseek(directory, listed[-1].next, os.SEEK_SET)
        assert read_directory(directory) == []


@check()
def a_position_outlasts_removals_before_it(root: Path) -> None:
    _fill(root / "full")
    with opened(root / "full") as directory:
        first = [entry for _ in range(4) for entry in read_directory(directory, _SMALL)]
        rest = [entry.name for entry in list_directory(directory)]
        for entry in first:
            if entry.name not in _DOTS:
                os.unlink(entry.name, dir_fd=directory)
        os.lseek(directory, first[-1].next, os.SEEK_SET)
        assert [entry.name for entry in list_directory(directory)] == rest


@check()
def two_descriptors_list_independently(root: Path) -> None:
    with opened(root / "full") as one, opened(root / "full") as other:
        begun = read_directory(one, _SMALL)
        whole = list(list_directory(other))
        assert [*begun, *list_directory(one)] == whole


@check()
def a_buffer_too_small_for_a_name_is_refused(root: Path) -> None:
    create(root / "empty" / ("n" * 255))
    with opened(root / "empty") as directory, refused(errno.EINVAL):
        for _ in range(4):
            read_directory(directory, 40)
