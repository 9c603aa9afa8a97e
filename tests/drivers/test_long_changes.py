"""Changes that take long for what layers hold: others are answered between their steps."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from overlayfs_py.union.copy_up import MOST_AT_ONCE
from tests.drivers.serving import Stack, serving
from tests.union.deep import dig, make_file
from tests.waits import hostile_packs

if TYPE_CHECKING:
    from pathlib import Path

_DEPTH = MOST_AT_ONCE * 3


def _down(root: Path, depth: int) -> int:
    """Open the directory so deep in `root`."""
    here = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(depth):
        below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    return here


def _open(name: str, flags: int, at: int) -> int:
    return os.open(name, flags, 0o600, dir_fd=at)


def _write(name: str, at: int) -> None:
    fd = _open(name, os.O_WRONLY, at)
    os.write(fd, b"new")
    os.close(fd)


_CHANGES = {
    "write": lambda at: _write("file", at),
    "chmod": lambda at: os.chmod("file", 0o600, dir_fd=at),
    "chmod_directory": lambda at: os.fchmod(at, 0o700),
    "create": lambda at: os.close(_open("new", os.O_CREAT | os.O_WRONLY, at)),
    "mkdir": lambda at: os.mkdir("new", dir_fd=at),
    "symlink": lambda at: os.symlink("to", "new", dir_fd=at),
    "link": lambda at: os.link("file", "new", src_dir_fd=at, dst_dir_fd=at),
    "unlink": lambda at: os.unlink("file", dir_fd=at),
    "rmdir": lambda at: os.rmdir("empty", dir_fd=at),
    "rename": lambda at: os.rename("file", "new", src_dir_fd=at, dst_dir_fd=at),
    "xattr": lambda at: os.setxattr(f"/proc/self/fd/{at}/file", "user.a", b"1"),
    "truncate": lambda at: os.truncate(f"/proc/self/fd/{at}/file", 0),
}


def test_changes_deep_in_a_layer(stack: Stack) -> None:
    for name in _CHANGES:
        inside = dig(stack.lower / name, _DEPTH)
        make_file(inside, b"file", b"old")
        os.mkdir("empty", dir_fd=inside)
        os.close(inside)

    with serving(stack.spec, stack.plan) as daemon:
        for name, change in _CHANGES.items():
            at = _down(daemon.target / name, _DEPTH)
            change(at)
            os.close(at)
        written = _down(daemon.target / "write", _DEPTH)
        with open("file", opener=lambda path, flags: _open(path, flags, written)) as file:
            assert file.read() == "new"
        os.close(written)

    for name in _CHANGES:
        os.close(_down(stack.upper / name, _DEPTH))


def test_a_file_in_very_many_pieces_is_copied(stack: Stack) -> None:
    pieces = 20_000
    pack = stack.base / "pack"
    hostile_packs.write_files(pack, pieces, chunks=3)
    spec = stack.spec._replace(lower=(os.fsencode(pack),))

    with serving(spec, stack.plan) as daemon:
        source = os.open(daemon.target / "dense", os.O_RDONLY)
        target = os.open(daemon.target / "copy", os.O_RDWR | os.O_CREAT)
        copied = 0
        while done := os.copy_file_range(source, target, pieces):
            copied += done
        os.close(source)
        os.close(target)
        os.chmod(daemon.target / "small", 0o600)
        sparse = (daemon.target / "sparse").read_bytes()

    assert copied == pieces
    assert (stack.upper / "copy").read_bytes() == b"x" * pieces
    assert (stack.upper / "small").read_bytes() == b"x" * (1 << 15)
    assert sparse == b"x\0" * pieces
