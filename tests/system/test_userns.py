"""Without privilege: as root of a user namespace, and as an ordinary user with fusermount3.

An upper that such a mount writes carries `user.overlay.*` alone, and survives a remount.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from tests.support.snapshot import walk
from tests.system.engine import make_root_filesystem
from tests.system.mount_table import mounted_at
from tests.system.processes import attempt, run
from tests.system.stack import EMPTY, Stack, make_layers, write_tree
from tests.system.unprivileged import (
    FIRST_SUBORDINATE,
    ONLY_ROOT,
    ROOT_AND_SUBORDINATES,
    USER,
    IdRange,
    as_user,
    device_for_everybody,
    in_user_namespace,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OVERRIDE = "user.containers.override_stat"

MOUNT = """
    set -e
    command=$0 options=$1 target=$2
    $command mount -o "$options" "$target"
    trap 'cd /; $command umount "$target"' EXIT
    cd "$target"
"""

WORK = """
    echo more >> etc/plain
    rm only/low
    mv etc/replaced etc/renamed
    mv usr/bin usr/sbin
    rm -r usr/share
    mkdir -p usr/share/doc
    ln etc/plain etc/linked
    ln -s plain etc/symbolic
    chmod 640 etc/renamed
    echo made > usr/sbin/made
"""

LOOK = """
    find . -type f -printf '%P %m %n\\n' | sort
    cat etc/plain etc/renamed
    test ! -e etc/replaced
    test ! -e only/low
    test "$(readlink etc/symbolic)" = plain
    test etc/plain -ef etc/linked
    usr/sbin/tool
"""

SEEN = [
    "etc/linked 644 2",
    "etc/plain 644 2",
    "etc/renamed 640 1",
    "usr/sbin/made 644 1",
    "usr/sbin/tool 755 1",
    "plain",
    "more",
    "new",
    "tool",
]


@pytest.fixture(autouse=True)
def device() -> Iterator[None]:
    with device_for_everybody():
        yield


@pytest.fixture
def stack(scratch: Path, overlayfs_py: Path) -> Stack:
    """A stack of layers that belong to the ordinary user."""
    layers = make_layers(scratch)
    write_tree(layers[1], {"usr/share/doc/readme": "read\n"})
    stack = Stack.make(scratch / "mount", layers)
    run(["chown", "--recursive", f"{USER}:{USER}", scratch])
    readable = attempt(as_user([overlayfs_py, "--version"]))
    assert readable.returncode == 0, f"others cannot run {overlayfs_py}: {readable.stderr}"
    return stack


def mounted_shell(command: Path, stack: Stack, steps: str, *, extra: str = "") -> list[str]:
    """Return a command that mounts, runs the steps inside the mount and unmounts."""
    options = stack.options + extra
    return ["sh", "-c", MOUNT + steps, str(command), options, str(stack.target)]


def override_owners(stack: Stack) -> None:
    """Tell 3:4 as the owner of everything, the way containers/storage unpacks a layer."""
    for layer in (*stack.lower, stack.upper):
        for _, at, status in walk(layer):
            if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
                kind = "dir" if stat.S_ISDIR(status.st_mode) else "file"
                mode = stat.S_IMODE(status.st_mode)
                os.setxattr(at, OVERRIDE, b"3:4:0%o:%s" % (mode, kind.encode()))


def overlay_xattrs(upper: Path) -> set[str]:
    """Return the names of all overlay xattrs in an upper, without their namespace `user.`."""
    names = {
        name
        for _, at, _ in walk(upper)
        for name in os.listxattr(at, follow_symlinks=False)
        if "overlay" in name
    }
    assert all(name.startswith("user.overlay.") for name in names)
    return {name.removeprefix("user.overlay.") for name in names}


@pytest.mark.parametrize("ids", [ONLY_ROOT, ROOT_AND_SUBORDINATES], ids=["one id", "many ids"])
def test_work_in_a_user_namespace_is_there_after_a_remount(
    stack: Stack, overlayfs_py: Path, ids: tuple[IdRange, ...]
) -> None:
    at_once = in_user_namespace(mounted_shell(overlayfs_py, stack, WORK + LOOK), ids)
    later = in_user_namespace(mounted_shell(overlayfs_py, stack, LOOK), ids)

    assert at_once.splitlines() == SEEN
    assert later.splitlines() == SEEN
    assert (stack.upper / "only/low").is_char_device()
    assert "opaque" in overlay_xattrs(stack.upper)


def test_chown_within_the_mapping_reaches_the_disk(stack: Stack, overlayfs_py: Path) -> None:
    look = "stat -c '%n %u:%g' etc/plain etc usr/bin/tool"
    work = f"chown 5:6 etc/plain; chown 0:7 etc; chown -h 8:9 usr/bin/tool; {look}"
    at_once = in_user_namespace(
        mounted_shell(overlayfs_py, stack, work), ROOT_AND_SUBORDINATES
    ).splitlines()
    later = in_user_namespace(
        mounted_shell(overlayfs_py, stack, look), ROOT_AND_SUBORDINATES
    ).splitlines()

    assert at_once == ["etc/plain 5:6", "etc 0:7", "usr/bin/tool 8:9"]
    assert later == at_once
    on_disk = (stack.upper / "etc/plain").stat()
    assert (on_disk.st_uid, on_disk.st_gid) == (FIRST_SUBORDINATE + 4, FIRST_SUBORDINATE + 5)


def test_stat_override_keeps_owners_that_the_user_may_not_give(
    stack: Stack, overlayfs_py: Path
) -> None:
    """`xattr_permissions=2`: the owner lies in an xattr and the disk's own stays the user's."""
    override_owners(stack)
    look = "stat -c '%n %u:%g %a' etc/plain made only; cat etc/plain"
    work = f"echo more >> etc/plain; echo made > made; chown 5:6 made; chmod 4711 made; {look}"
    shown = [
        in_user_namespace(
            mounted_shell(overlayfs_py, stack, steps, extra=",xattr_permissions=2"),
            ROOT_AND_SUBORDINATES,
        )
        for steps in (work, look)
    ]

    expected = ["etc/plain 3:4 644", "made 5:6 4711", "only 3:4 755", "plain", "more"]
    assert [lines.splitlines() for lines in shown] == [expected, expected]
    for name in ("etc/plain", "made"):
        assert (stack.upper / name).stat().st_uid == USER
    assert os.getxattr(stack.upper / "made", OVERRIDE) == b"5:6:04711:file"


def test_an_ordinary_user_mounts_with_fusermount3(stack: Stack, overlayfs_py: Path) -> None:
    run(as_user(mounted_shell(overlayfs_py, stack, WORK + LOOK)), env=EMPTY)
    later = run(as_user(mounted_shell(overlayfs_py, stack, LOOK)), env=EMPTY)

    assert later.splitlines() == SEEN
    assert "opaque" in overlay_xattrs(stack.upper)


def test_an_ordinary_user_changes_what_lies_in_read_only_directories(
    stack: Stack, overlayfs_py: Path
) -> None:
    """As on a disk: its owner may write the file, and the mode of where it lies, or is, stays."""
    tools = stack.lower[0] / "usr/bin"
    os.setxattr(tools / "tool", "user.x", b"1")
    (tools / "tool").chmod(0o555)
    (tools / "empty").mkdir()
    os.chown(tools / "empty", USER, USER)
    for directory in (tools / "empty", tools, stack.lower[0] / "usr"):
        directory.chmod(0o555)
    work = """
        touch -d @1000000000 usr/bin/tool usr/bin/empty
        chmod u+w usr/bin; rmdir usr/bin/empty; chmod u-w usr/bin
        touch usr/bin/new && exit 1
        find usr usr/bin usr/bin/tool -maxdepth 0 -printf '%p %m %Ts\n'; ls usr/bin
    """

    shown = run(as_user(mounted_shell(overlayfs_py, stack, work)), env=EMPTY).splitlines()

    assert [line.split()[:2] for line in shown[:3]] == [
        ["usr", "555"],
        ["usr/bin", "555"],
        ["usr/bin/tool", "555"],
    ]
    assert shown[2].endswith(" 1000000000")
    assert shown[3:] == ["tool"]
    assert os.getxattr(stack.upper / "usr/bin/tool", "user.x") == b"1"
    assert stat.S_IMODE((stack.upper / "usr/bin").stat().st_mode) == 0o555


def test_an_ordinary_user_sees_the_owners_that_an_override_tells(
    stack: Stack, overlayfs_py: Path
) -> None:
    override_owners(stack)
    look = mounted_shell(
        overlayfs_py, stack, "stat -c '%u:%g' etc/plain", extra=",xattr_permissions=2"
    )

    assert run(as_user(look), env=EMPTY) == "3:4\n"


def test_umount_needs_no_right_to_look_inside(stack: Stack, overlayfs_py: Path) -> None:
    mount = [overlayfs_py, "mount", "-o", stack.options, stack.target]
    run(as_user(mount), env=EMPTY)
    run(as_user(["chmod", "311", stack.target]))
    run(as_user([overlayfs_py, "umount", stack.target]), env=EMPTY)

    assert mounted_at(stack.target) is None


def test_chroot_works_for_an_ordinary_user(scratch: Path, overlayfs_py: Path) -> None:
    root = scratch / "root"
    make_root_filesystem(root)
    run(["chown", "--recursive", f"{USER}:{USER}", root])
    steps = "set -e; id -u; echo x >> /etc/passwd; rm -r /usr/share; mv /home /house; ls /house"
    command = [overlayfs_py, "chroot", root, "--", "sh", "-c", steps]

    shown = run(as_user(command), env=EMPTY)

    assert shown.splitlines() == ["0", "data"]
    assert (root / "usr/share/doc/readme").read_text() == "documentation\n"
    assert "x\n" not in (root / "etc/passwd").read_text()
