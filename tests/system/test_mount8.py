"""The callers that know nothing of us but the command: mount(8), umount(8), containerd."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.system.mount_table import mounted_at
from tests.system.processes import attempt, processes_naming, run, wait_until
from tests.system.stack import EMPTY, Stack, make_layers

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def stack(scratch: Path) -> Stack:
    return Stack.make(scratch / "mount", make_layers(scratch))


def work_in(target: Path) -> None:
    """Read both layers, copy up, delete, create: the mount is more than a listing."""
    assert sorted(entry.name for entry in (target / "etc").iterdir()) == ["plain", "replaced"]
    assert (target / "etc/replaced").read_text() == "new\n"
    with (target / "etc/plain").open("a") as file:
        file.write("more\n")
    (target / "only/low").unlink()
    (target / "made").write_text("made\n")


def assert_worked(stack: Stack) -> None:
    assert (stack.upper / "etc/plain").read_text() == "plain\nmore\n"
    assert (stack.upper / "only/low").is_char_device()
    assert (stack.upper / "made").read_text() == "made\n"
    assert (stack.lower[1] / "etc/plain").read_text() == "plain\n"


def umount(stack: Stack) -> None:
    """Unmount as an administrator does: the daemon has to notice by itself."""
    run(["umount", stack.target])
    assert mounted_at(stack.target) is None
    wait_until(lambda: not processes_naming(str(stack.target)), "the daemon to end")


def test_mount8_mounts_by_type_with_an_empty_environment(stack: Stack, mount_program: Path) -> None:
    kind = f"fuse.{mount_program}"
    run(["/bin/mount", "-t", kind, "none", stack.target, "-o", stack.options], env=EMPTY)
    work_in(stack.target)
    umount(stack)

    assert_worked(stack)


def test_containerd_calls_the_program_with_the_source_first(
    stack: Stack, mount_program: Path
) -> None:
    """containerd's fuse-overlayfs snapshotter: `PROG overlay TARGET -o OPTIONS`."""
    lower = ":".join(map(str, stack.lower))
    options = f"workdir={stack.work},upperdir={stack.upper},lowerdir={lower},dev,suid"
    run([mount_program, "overlay", stack.target, "-o", options], env=EMPTY, cwd=stack.work)
    work_in(stack.target)
    umount(stack)

    assert_worked(stack)


def test_podman_form_takes_empty_options_and_relative_directories(
    stack: Stack, mount_program: Path, scratch: Path
) -> None:
    options = "lowerdir=top:bottom,upperdir=mount/upper,workdir=mount/work,,volatile,"
    run([mount_program, "-o", options, stack.target], env=EMPTY, cwd=scratch)
    work_in(stack.target)
    umount(stack)

    assert_worked(stack)


def test_a_mount_without_an_upper_is_read_only(stack: Stack, mount_program: Path) -> None:
    lower = ":".join(map(str, stack.lower))
    run([mount_program, "-o", f"lowerdir={lower}", stack.target], env=EMPTY)

    touched = attempt(["touch", stack.target / "made"])
    umount(stack)

    assert "Read-only file system" in touched.stderr


def test_the_mount_table_names_type_and_options(stack: Stack, mount_program: Path) -> None:
    options = f"{stack.options},noatime,dev,suid"
    run([mount_program, "somewhere", stack.target, "-o", options], env=EMPTY)
    mount = mounted_at(stack.target)
    umount(stack)

    assert mount is not None
    assert mount.kind == f"fuse.{mount_program.name}"
    assert {"rw", "noatime", "default_permissions", "allow_other"} <= mount.options
    assert not {"nosuid", "nodev"} & mount.options


def test_the_program_tells_its_version(mount_program: Path) -> None:
    """podman asks before it mounts."""
    assert mount_program.name in run([mount_program, "--version"], env=EMPTY)


def test_a_busy_mount_survives_umount8(stack: Stack, mount_program: Path) -> None:
    run([mount_program, "-o", stack.options, stack.target], env=EMPTY)
    with (stack.target / "etc/plain").open() as file:
        refused = attempt(["umount", stack.target])
        assert file.read() == "plain\n"
    umount(stack)

    assert "busy" in refused.stderr
