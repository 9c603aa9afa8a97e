"""A pack of a system that root owns, in the hands of a user who has one id and no right."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.lowers import pack
from tests.system.engine import make_root_filesystem
from tests.system.processes import run
from tests.system.stack import Stack
from tests.system.unprivileged import ONLY_ROOT, USER, as_user, device_for_everybody
from tests.system.unprivileged import in_user_namespace as in_namespace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def device() -> Iterator[None]:
    with device_for_everybody():
        yield


@pytest.fixture
def stack(scratch: Path) -> Stack:
    """A small root filesystem as a pack, the rest of the stack the user's."""
    root = scratch / "root"
    make_root_filesystem(root)
    (root / "bin").mkdir(exist_ok=True)
    (root / "bin/secret").write_text("root's\n")
    os.chown(root / "bin/secret", 0, 42)
    (root / "bin/secret").chmod(0o640)
    (root / "bin/set-id").write_text("x")
    os.chown(root / "bin/set-id", 33, 33)
    (root / "bin/set-id").chmod(0o6755)
    os.mknod(root / "null", 0o020600, os.makedev(1, 3))
    made = pack(root, scratch)
    home = scratch / "home"
    stack = Stack.make(home, (made,))
    run(["chown", "--recursive", f"{USER}:{USER}", home])
    return stack


def test_owners_devices_and_set_id_bits_are_shown_to_an_ordinary_user(
    stack: Stack, overlayfs_py: Path
) -> None:
    script = """
        set -e
        "$0" mount -o lowerdir="$1" "$2"
        trap 'cd /; "$0" umount "$2"' EXIT
        cd "$2"
        stat -c '%n %u %g %a %F %t %T' bin/secret bin/set-id null
    """
    command = ["sh", "-c", script, overlayfs_py, stack.lower[0], stack.target]

    shown = run(as_user(command))

    assert shown.splitlines() == [
        "bin/secret 0 42 640 regular file 0 0",
        "bin/set-id 33 33 6755 regular file 0 0",
        "null 0 0 600 character special file 1 3",
    ]


def test_root_of_a_namespace_with_one_id_runs_a_command_in_a_pack(
    stack: Stack, overlayfs_py: Path
) -> None:
    script = """
        set -e
        "$0" mount -o "$1" "$2"
        trap 'cd /; "$0" umount "$2"' EXIT
        stat -c '%u %a' "$2/bin/secret"
        chroot "$2" /bin/sh -c 'echo changed > /etc/passwd && cat /etc/passwd'
    """
    command = ["sh", "-c", script, overlayfs_py, stack.options, stack.target]

    said = in_namespace(command, ONLY_ROOT)

    assert said.splitlines() == ["0 640", "changed"]


def test_an_ordinary_user_works_with_a_debian_that_root_owns(
    scratch: Path, debian: tuple[Path, ...], overlayfs_py: Path
) -> None:
    lower = ":".join(str(pack(layer, scratch)) for layer in debian)
    mount, home = scratch / "mount", scratch / "home"
    for directory in (mount, home):
        directory.mkdir()
        os.chown(directory, USER, USER)
    script = """
        set -e
        export TMPDIR="$3"
        "$0" mount -o lowerdir="$1" "$2"
        trap 'cd /; "$0" umount "$2"' EXIT
        cd "$2"
        stat -c '%n %u %g %a' usr/bin/passwd usr/bin/chage etc/shadow var/mail
        usr/bin/perl -e 'print "run from the mount\\n"'
        "$0" chroot "$1" -- perl -MPOSIX -e 'printf "%s %d\\n", (getpwuid(0))[0], floor(7.5)'
    """

    said = run(as_user(["sh", "-c", script, overlayfs_py, lower, mount, home]))

    assert said.splitlines() == [
        "usr/bin/passwd 0 0 4755",
        "usr/bin/chage 0 42 2755",
        "etc/shadow 0 42 640",
        "var/mail 0 8 2775",
        "run from the mount",
        "root 7",
    ]
