"""The callers that know nothing of us but the command: mount(8), umount(8), containerd."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.system.mount_table import mounted_at
from tests.system.processes import attempt, processes_naming, run, wait_until
from tests.system.stack import EMPTY, Stack, make_layers


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


@pytest.mark.parametrize("has_upper", [True, False])
def test_a_remount_changes_the_mount_that_is_there(
    stack: Stack, mount_program: Path, overlayfs_py: Path, has_upper: bool
) -> None:
    lower = ":".join(map(str, stack.lower))
    options = stack.options if has_upper else f"lowerdir={lower}"
    kind = f"fuse.{mount_program}"
    run(["mount", "-t", kind, "none", stack.target, "-o", f"{options},nosuid"])

    for how in ("ro,noexec", "rw,exec") if has_upper else ("ro,noexec",):
        for command in (["mount"], [overlayfs_py, "mount"]):
            if command == ["mount"]:
                run(["mount", "-t", kind, "none", "-o", f"remount,{how},{options}", stack.target])
            else:
                run([*command, "-o", f"remount,{how}", stack.target])
            flags = os.statvfs(stack.target).f_flag
            assert bool(flags & os.ST_RDONLY) == how.startswith("ro")
            if command != ["mount"]:  # which passes no `exec` on
                assert bool(flags & os.ST_NOEXEC) == how.startswith("ro")
            table = Path("/proc/self/mountinfo").read_text()
            assert table.count(f" {stack.target} ") == 1
    run(["mount", "-i", "-o", f"remount,nosuid,{'rw' if has_upper else 'ro'}", stack.target])
    run([overlayfs_py, "mount", "-o", "remount,nodev", stack.target])
    assert os.statvfs(stack.target).f_flag & os.ST_NOSUID  # what is not named stays
    if has_upper:
        work_in(stack.target)
    else:
        refused = attempt(
            [overlayfs_py, "mount", "-o", f"remount,rw,lowerdir={lower}", stack.target]
        )
        assert refused.returncode == 2
        assert "upperdir" in refused.stderr
    umount(stack)


def test_a_remount_of_what_is_no_mount_is_refused(stack: Stack, overlayfs_py: Path) -> None:
    refused = attempt([overlayfs_py, "mount", "-o", "remount,ro", stack.target])

    assert refused.returncode == 1
    assert refused.stderr == (
        f"overlayfs-py: {stack.target}: remount: there is no mount of overlayfs-py\n"
    )


def test_the_same_mount_again_makes_no_second_one(stack: Stack, overlayfs_py: Path) -> None:
    run([overlayfs_py, "mount", "-o", stack.options, stack.target])
    again = attempt([overlayfs_py, "mount", "-o", stack.options, stack.target])

    assert again.returncode == 1
    assert "another mount uses it" in again.stderr
    work_in(stack.target)
    umount(stack)


@pytest.mark.parametrize("form", ["with upper", "read-only"])
def test_fstab_is_mounted_once(stack: Stack, mount_program: Path, scratch: Path, form: str) -> None:
    lower = ":".join(map(str, stack.lower))
    options = stack.options if form == "with upper" else f"lowerdir={lower}"
    table = scratch / "fstab"
    table.write_text(f"none {stack.target} fuse.{mount_program} {options},nofail 0 0\n")
    for _ in range(2):
        run(["mount", "--all", "--fstab", table])
        mounts = Path("/proc/self/mountinfo").read_text()
        assert mounts.count(f" {stack.target} ") == 1
    run(["mount", "--fstab", table, "-o", "remount,ro", stack.target])
    assert os.statvfs(stack.target).f_flag & os.ST_RDONLY
    umount(stack)
