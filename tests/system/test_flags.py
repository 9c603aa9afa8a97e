"""Inode flags of layers (chattr(1)): obeyed, and carried over at copy-up, as by the kernel."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.system.processes import attempt, run
from tests.system.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Each is tried on a file, directory or name of its own; what it says is compared.
_CALLS = """
import errno, fcntl, os, struct, sys

def write(path, flags=os.O_WRONLY, data=b"q"):
    fd = os.open(path, flags)
    try:
        os.write(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)

def on(name):
    return {
        "write": lambda: write(name),
        "append": lambda: write(name, os.O_WRONLY | os.O_APPEND),
        "O_TRUNC": lambda: write(name, os.O_WRONLY | os.O_TRUNC),
        "truncate": lambda: os.truncate(name, 1),
        "allocate": lambda: allocate(name),
        "chmod": lambda: os.chmod(name, 0o600),
        "chown": lambda: os.chown(name, 3, 4),
        "utime": lambda: os.utime(name, (5, 5)),
        "setxattr": lambda: os.setxattr(name, "user.new", b"1"),
        "removexattr": lambda: os.removexattr(name, "user.old"),
        "acl": lambda: os.removexattr(name, "system.posix_acl_access"),
        "link": lambda: os.link(name, name + " linked"),
        "rename": lambda: os.rename(name, name + " renamed"),
        "rename over": lambda: os.rename("other", name),
        "exchange": lambda: exchange(name, "other"),
        "unlink": lambda: os.unlink(name),
    }

def allocate(name):
    fd = os.open(name, os.O_RDWR)
    try:
        os.posix_fallocate(fd, 0, 100)
    finally:
        os.close(fd)

def exchange(one, other):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(-100, one.encode(), -100, other.encode(), 2):
        raise OSError(ctypes.get_errno(), "")

def inside(name):
    return {
        "create": lambda: write(name + "/new", os.O_WRONLY | os.O_CREAT),
        "mkdir": lambda: os.mkdir(name + "/newdir"),
        "symlink": lambda: os.symlink("x", name + "/newlink"),
        "mknod": lambda: os.mkfifo(name + "/newpipe"),
        "link in": lambda: os.link("other", name + "/other"),
        "O_TMPFILE": lambda: os.close(os.open(name, os.O_TMPFILE | os.O_WRONLY)),
        "change inside": lambda: write(name + "/in"),
        "rename inside": lambda: os.rename(name + "/in", name + "/out"),
        "rename in": lambda: os.rename("other", name + "/other2"),
        "unlink inside": lambda: os.unlink(name + "/in"),
        "rmdir inside": lambda: os.rmdir(name + "/empty"),
        "chmod directory": lambda: os.chmod(name, 0o700),
        "rename directory": lambda: os.rename(name, name + " renamed"),
        "rmdir": lambda: os.rmdir(name),
    }

for name in ("immutable", "append", "plain"):
    for what, call in on(name).items():
        tried(name, what, call)
for name in ("immutable dir", "append dir", "merged dir"):
    for what, call in inside(name).items():
        tried(name, what, call)
"""
_REPORT = """
def tried(name, what, call):
    try:
        call()
        print(f"{name}: {what}: done")
    except OSError as error:
        print(f"{name}: {what}: {errno.errorcode[error.errno]}")
"""
_PREPARE = """
    mkdir "$1/immutable dir" "$1/immutable dir/empty" "$1/append dir" "$1/append dir/empty"
    touch "$1/immutable dir/in" "$1/append dir/in" "$1/other"
    for name in immutable append plain; do
        echo data > $1/$name; setfattr -n user.old -v 1 $1/$name; done
    mkdir "$1/merged dir" "$2/merged dir"; touch "$1/merged dir/in" "$2/merged dir/up"
"""
_PROTECT = """
    cd "$1"
    chattr +i immutable 'immutable dir' 'merged dir'; chattr +a append 'append dir'
"""


@pytest.fixture
def stack(scratch: Path) -> Iterator[Stack]:
    top, bottom = scratch / "top", scratch / "bottom"
    top.mkdir()
    bottom.mkdir()
    run(["sh", "-ec", _PREPARE, "sh", bottom, top])
    yield Stack.make(scratch / "mount", (bottom,))
    attempt(["chattr", "-R", "-f", "-i", "-a", scratch])  # of a pipe, a link it cannot


@contextmanager
def mounted(stack: Stack, side: str, command: Path) -> Iterator[Path]:
    if side == "kernel":
        with stack.mounted_by_kernel() as root:
            yield root
    else:
        with stack.mounted(command, driver=side) as root:
            yield root


def outcomes(root: Path) -> list[str]:
    argv = ["python3", "-c", _REPORT + _CALLS]
    return subprocess.run(
        argv, cwd=root, capture_output=True, text=True, check=True
    ).stdout.splitlines()


def with_kernels(stack: Stack, scratch: Path) -> Stack:
    kernels = Stack.make(scratch / "kernel", stack.lower)
    run(["cp", "--archive", "--no-target-directory", stack.upper, kernels.upper])
    return kernels


@pytest.mark.parametrize("driver", ["direct", "pyfuse3"])
def test_a_layers_flags_are_obeyed_as_by_the_kernel(
    stack: Stack, overlayfs_py: Path, scratch: Path, driver: str
) -> None:
    run(["sh", "-ec", _PROTECT, "sh", stack.lower[0]])
    with mounted(with_kernels(stack, scratch), "kernel", overlayfs_py) as root:
        kernels = outcomes(root)

    with mounted(stack, driver, overlayfs_py) as root:
        ours = outcomes(root)

    assert comparable(ours, driver) == comparable(kernels, driver)
    assert "immutable: unlink: EPERM" in ours
    assert "append: append: done" in ours


def comparable(lines: list[str], driver: str) -> list[str]:
    """All but what the pyfuse3 driver has not."""
    lacking = ("O_TMPFILE", "allocate") if driver == "pyfuse3" else ()
    return [line for line in lines if line.split(": ")[1] not in lacking]


@pytest.mark.parametrize("writer", ["direct", "kernel"])
@pytest.mark.parametrize("reader", ["direct", "pyfuse3", "kernel"])
def test_what_is_set_in_a_mount_is_obeyed_in_the_next(
    stack: Stack, overlayfs_py: Path, scratch: Path, writer: str, reader: str
) -> None:
    """In whichever mount: the xattr in the upper is the kernel's."""
    with mounted(stack, writer, overlayfs_py) as root:
        run(["sh", "-ec", _PROTECT, "sh", root])
    for name, value in (("immutable", b"i"), ("append", b"a")):
        assert os.getxattr(stack.upper / name, "trusted.overlay.protattr") == value
    kernels_stack = with_kernels(stack, scratch)
    with mounted(kernels_stack, "kernel", overlayfs_py) as root:
        kernels = outcomes(root)

    with mounted(stack, reader, overlayfs_py) as root:
        assert comparable(outcomes(root), reader) == comparable(kernels, reader)
    if reader != "pyfuse3":
        with mounted(stack, reader, overlayfs_py) as root:
            run(["chattr", "-i", root / "immutable"])
            (root / "immutable").write_text("free\n")
        assert "trusted.overlay.protattr" not in os.listxattr(stack.upper / "immutable")


@pytest.mark.parametrize("driver", ["direct", "pyfuse3"])
@pytest.mark.parametrize("extra", ["metacopy=off", "metacopy=on"])
def test_copy_up_carries_flags_over(
    stack: Stack, overlayfs_py: Path, driver: str, extra: str
) -> None:
    """As the kernel: S and A as they are, a in the xattr, d not at all."""
    lower = stack.lower[0]
    run(["chattr", "+ASd", lower / "plain", lower / "merged dir"])
    run(["chattr", "+a", lower / "append"])
    with stack.mounted(overlayfs_py, driver=driver, extra=extra) as root:
        (root / "plain").chmod(0o600)
        with (root / "plain").open("a") as file:
            file.write("more\n")
        with (root / "append").open("a") as file:
            file.write("more\n")
        (root / "merged dir/new").touch()
        assert (root / "append").read_text() == "data\nmore\n"
        with pytest.raises(PermissionError):
            (root / "append").unlink()

    shown = run(["lsattr", "-d", stack.upper / "plain", stack.upper / "merged dir"]).splitlines()
    assert [set("SAd") & set(line.split()[0]) for line in shown] == [{"S", "A"}] * 2
    assert os.getxattr(stack.upper / "append", "trusted.overlay.protattr") == b"a"
    assert os.getxattr(stack.upper / "plain", "user.old") == b"1"
