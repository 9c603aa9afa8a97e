"""Names: any bytes but a slash and a zero, up to NAME_MAX, in trees deeper than PATH_MAX."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests.posix.descriptors import create, opened
from tests.posix.expecting import names, refused
from tests.posix.registry import check

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_LONGEST = "n" * 255
_TOO_LONG = "n" * 256
_LEVELS = 24  # of 200 bytes each: beyond PATH_MAX
_LEVEL = "d" * 200


@check()
def a_name_of_255_bytes_does_all_that_others_do(root: Path) -> None:
    create(root / _LONGEST, b"x")
    assert _LONGEST in names(root)
    os.rename(root / _LONGEST, root / "dir" / _LONGEST)
    os.link(root / "dir" / _LONGEST, root / _LONGEST)
    assert (root / _LONGEST).read_bytes() == b"x"
    os.unlink(root / _LONGEST)
    os.mkdir(root / _LONGEST)
    create(root / _LONGEST / _LONGEST)
    os.rename(root / _LONGEST, root / "m")
    assert names(root / "m") == {_LONGEST}


@check()
def a_directory_is_renamed_to_a_long_name(root: Path) -> None:
    os.rename(root / "dir", root / _LONGEST)
    assert names(root / _LONGEST) == {"a", "b", "sub"}
    os.rename(root / _LONGEST / "sub", root / _LONGEST / ("s" * 255))
    assert (root / _LONGEST / ("s" * 255) / "deep").read_bytes() == b"deep"


@check()
def a_name_of_256_bytes_is_refused_everywhere(root: Path) -> None:
    path = root / _TOO_LONG
    attempts: tuple[Callable[[], object], ...] = (
        lambda: os.lstat(path),
        lambda: create(path),
        lambda: os.mkdir(path),
        lambda: os.mkfifo(path),
        lambda: os.symlink("x", path),
        lambda: os.link(root / "file", path),
        lambda: os.rename(root / "file", path),
        lambda: os.rename(root / "dir", path),
        lambda: os.rename(path, root / "x"),
        lambda: os.unlink(path),
        lambda: os.rmdir(path),
        lambda: os.lstat(path / "x"),
    )
    for attempt in attempts:
        with refused(errno.ENAMETOOLONG):
            attempt()


@check()
def a_path_of_4096_bytes_is_refused(root: Path) -> None:
    with refused(errno.ENAMETOOLONG):
        os.lstat(f"{root}/" + "./" * 2048 + "file")
    fitting = f"{root}/" + "./" * ((4095 - len(f"{root}/file")) // 2) + "file"
    assert os.lstat(fitting).st_size > 0


@check()
def the_filesystem_says_how_long_names_are(root: Path) -> None:
    assert os.statvfs(root).f_namemax == 255
    assert os.pathconf(root, "PC_NAME_MAX") == 255
    assert os.pathconf(root / "file", "PC_NAME_MAX") == 255


@check()
def a_name_is_any_bytes(root: Path) -> None:
    every = [bytes([number]) for number in range(1, 256) if number not in b"./"]
    odd = [
        b"\xff\xfe",
        b"a\nb",
        b" ",
        b"-",
        b"--help",
        b"...",
        b".hidden",
        b"a:b",
        b"\\",
        b"%s",
        b"~",
    ]
    base = os.fsencode(root / "empty")
    for name in {*every, *odd}:
        with opened(base + b"/" + name, os.O_CREAT | os.O_EXCL | os.O_WRONLY) as descriptor:
            os.write(descriptor, name)
    assert set(os.listdir(base)) == {*every, *odd}
    for name in {*every, *odd}:
        with opened(base + b"/" + name) as descriptor:
            assert os.read(descriptor, 10) == name
        os.unlink(base + b"/" + name)
    assert os.listdir(base) == []


@check()
def case_and_composition_of_letters_count(root: Path) -> None:
    variants = ("name", "Name", "NAME", "\u00e9", "e\u0301", "\u212b", "\u00c5")
    for name in variants:
        create(root / "empty" / name, name.encode())
    assert names(root / "empty") == set(variants)
    for name in variants:
        assert (root / "empty" / name).read_bytes() == name.encode()


@check()
def odd_names_are_renamed_and_made_directories(root: Path) -> None:
    base = os.fsencode(root)
    os.rename(base + b"/dir", base + b"/\xff\n dir")
    os.mkdir(base + b"/\xff\n dir/\x01")
    assert set(os.listdir(base + b"/\xff\n dir")) == {b"a", b"b", b"sub", b"\x01"}
    os.symlink(b"\xff\n dir/a", base + b"/\xfe")
    assert os.stat(base + b"/\xfe").st_size == 1


@check()
def an_empty_path_leads_nowhere(root: Path) -> None:
    with refused(errno.ENOENT):
        os.lstat("")
    with opened(root / "dir") as directory, refused(errno.ENOENT):
        os.stat("", dir_fd=directory)


@check()
def repeated_slashes_count_as_one(root: Path) -> None:
    assert os.path.samestat(os.lstat(f"{root}//dir///sub////deep"), os.lstat(root / "dir/sub/deep"))
    assert os.path.samestat(os.lstat(f"{root}/./dir/./."), os.lstat(root / "dir"))


@check()
def a_tree_deeper_than_path_max_is_worked_in(root: Path) -> None:
    with ExitStack() as stack:
        at = stack.enter_context(opened(root / "dir", os.O_DIRECTORY))
        for _ in range(_LEVELS):
            os.mkdir(_LEVEL, dir_fd=at)
            at = stack.enter_context(opened(_LEVEL, os.O_DIRECTORY, dir_fd=at))
        with opened("bottom", os.O_CREAT | os.O_RDWR, dir_fd=at) as descriptor:
            os.write(descriptor, b"deep down")
            os.fchmod(descriptor, 0o600)
        os.rename("bottom", "renamed", src_dir_fd=at, dst_dir_fd=at)
        os.link("renamed", "linked", src_dir_fd=at, dst_dir_fd=at)
        os.symlink("renamed", "pointer", dir_fd=at)
        os.mkdir("leaf", dir_fd=at)
        assert os.stat("pointer", dir_fd=at).st_nlink == 2
        assert set(os.listdir(at)) == {"renamed", "linked", "pointer", "leaf"}
        os.rmdir("leaf", dir_fd=at)
        os.unlink("renamed", dir_fd=at)


@check()
def a_moved_directory_brings_its_depth_along(root: Path) -> None:
    with ExitStack() as stack:
        at = stack.enter_context(opened(root / "full", os.O_DIRECTORY))
        for _ in range(_LEVELS):
            os.mkdir(_LEVEL, dir_fd=at)
            at = stack.enter_context(opened(_LEVEL, os.O_DIRECTORY, dir_fd=at))
        os.rename(root / "dir", "moved", dst_dir_fd=at)
        moved = stack.enter_context(opened("moved", os.O_DIRECTORY, dir_fd=at))
        assert set(os.listdir(moved)) == {"a", "b", "sub"}
        with opened("a", os.O_RDWR, dir_fd=moved) as descriptor:
            os.write(descriptor, b"A")
        with opened("sub/deep", os.O_RDWR, dir_fd=moved) as descriptor:
            assert os.read(descriptor, 10) == b"deep"
