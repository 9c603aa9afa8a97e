"""`overlayfs-py chroot`: what a command in a container cannot reach or change."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.chrooting import shell
from tests.system.processes import attempt, run
from tests.system.unprivileged import as_user, device_for_everybody

if TYPE_CHECKING:
    from tests.cli.chrooting import Chroot

DOCKERS_CAPABILITIES = 0xA80425FB  # CapEff in a container of `docker run`
PRIVATE = ["unshare", "--mount", "--propagation", "private", "sh", "-ec"]


def test_nothing_below_sys_can_be_changed(chroot: Chroot) -> None:
    """Each mount below is read-only by itself: only the topmost being so is what went wrong."""
    steps = """
        while read _ _ _ _ place options _; do
            case $place in /sys|/sys/*)
                echo "$place ${options%%,*}"
                if mkdir "$place/overlayfs-py" 2>/dev/null; then echo "$place changed"; fi
            esac
        done < /proc/self/mountinfo
    """
    shown = [line.split() for line in shell(chroot, steps)]

    assert len(shown) > 1
    assert {options for _, options in shown} == {"ro"}


def test_what_else_is_mounted_below_sys_is_not_seen(
    overlayfs_py: Path, root: Path, temporary: Path
) -> None:
    """As debugfs, tracefs, bpf and efivarfs are, which nothing in a container is about."""
    inside = f"{overlayfs_py} chroot {root} ls /sys/kernel/debug /sys/firmware"
    show = f"mount -t ramfs other /sys/kernel/debug; touch /sys/kernel/debug/secret; {inside}"

    shown = run([*PRIVATE, show], env={"TMPDIR": str(temporary), "PATH": os.defpath})

    assert "secret" not in shown
    assert shown.split() == ["/sys/firmware:", "/sys/kernel/debug:"]


@pytest.mark.parametrize("place", ["sys/kernel/core_pattern", "sys/net", "irq", "fs", "bus"])
def test_the_kernels_settings_in_proc_cannot_be_changed(chroot: Chroot, place: str) -> None:
    done = chroot("touch", "-c", f"/proc/{place}")

    assert done.returncode != 0
    assert done.stderr.endswith("Read-only file system\n")


def test_memory_and_keys_in_proc_are_masked(chroot: Chroot) -> None:
    steps = "for f in kcore keys timer_list; do cat /proc/$f; done; ls /proc/acpi /proc/scsi"
    done = chroot("--", "sh", "-c", steps)

    assert not re.search(r"[^/:a-z\s]", done.stdout.replace("/proc/", ""))


def test_root_has_dockers_rights_and_no_more(chroot: Chroot) -> None:
    steps = "grep Cap /proc/self/status; grep Cap /proc/1/status"
    shown = [line.split() for line in shell(chroot, steps)]

    for name, value in shown:
        expected = 0 if name in ("CapInh:", "CapAmb:") else DOCKERS_CAPABILITIES
        assert int(value, 16) == expected


@pytest.mark.parametrize(
    "step",
    [
        "busybox mount -t tmpfs none /tmp",
        "busybox umount /proc/sys",
        "busybox hostname other",
        "busybox mount -o remount,rw /sys",
        "busybox chroot / busybox mount -o bind,remount,rw /proc/sys",
    ],
)
def test_what_needs_other_rights_is_refused(chroot: Chroot, step: str) -> None:
    done = chroot("--", "sh", "-c", step)

    assert done.returncode != 0
    assert re.search("permitted|permission", done.stderr)


def test_masks_stay_in_a_namespace_of_the_containers_own(chroot: Chroot) -> None:
    """Who makes a user namespace is its root, and still cannot take off what covers /proc."""
    steps = """
        id -u
        busybox umount /proc/sys && echo uncovered
        busybox umount /proc/keys && echo uncovered
        busybox mount -o remount,bind,rw /sys && echo writable
        busybox mount -t proc proc /proc && echo new proc
    """
    done = chroot("--", "busybox", "unshare", "-U", "-r", "-m", "sh", "-c", steps)

    assert done.stdout == "0\n"


def test_a_device_that_the_command_makes_is_none(chroot: Chroot) -> None:
    """The host's disks have numbers that anybody knows."""
    steps = """
        for place in /tmp /dev /dev/shm; do
            if busybox mknod $place/mine c 1 5; then dd if=$place/mine bs=1 count=1; fi
        done
    """
    done = chroot("--", "sh", "-c", steps)

    assert done.stdout == ""
    assert done.stderr.count("denied") + done.stderr.count("permitted") == 3


def test_a_device_of_a_layer_is_none(overlayfs_py: Path, root: Path) -> None:
    run(["mknod", root / "zero", "c", "1", "5"])
    argv = [overlayfs_py, "chroot", root]

    assert attempt([*argv, "dd", "if=/zero", "bs=1", "count=1"]).returncode != 0
    run([*argv, "--privileged", "dd", "if=/zero", "bs=1", "count=1"])


def test_privileged_gives_root_its_rights(overlayfs_py: Path, root: Path) -> None:
    steps = """
        busybox mount -t tmpfs none /tmp
        busybox test -w /proc/sys/kernel/core_pattern
        grep ' /sys ' /proc/self/mounts
    """
    shown = run([overlayfs_py, "chroot", "--privileged", root, "sh", "-ec", steps])

    assert shown.split()[3].startswith("rw")


def test_the_host_name_is_the_containers_own(chroot: Chroot) -> None:
    steps = "busybox hostname"

    assert re.fullmatch("[0-9a-f]{12}", shell(chroot, steps)[0])
    assert shell(chroot, steps, "--hostname", "build-1.example") == ["build-1.example"]
    assert socket.gethostname() != "build-1.example"


def test_a_host_name_that_cannot_be_one_is_refused(chroot: Chroot) -> None:
    for name in ("", "a" * 65, "a b", "-a", "a\n"):
        done = chroot("--hostname", name, "true")
        assert done.returncode == 2
        assert done.stderr.startswith("overlayfs-py: --hostname: ")


def test_shared_memory_of_system_v_is_the_containers_own(chroot: Chroot) -> None:
    made = run(["ipcmk", "--queue"]).split()[-1]
    try:
        assert len(Path("/proc/sysvipc/msg").read_text().splitlines()) > 1
        assert len(shell(chroot, "cat /proc/sysvipc/msg")) == 1
    finally:
        run(["ipcrm", "--queue-id", made])


@pytest.mark.parametrize("mask", ["/proc/timer_list", "/proc/version"])
def test_where_proc_is_masked_the_command_never_sees_the_hosts(
    overlayfs_py: Path, root: Path, temporary: Path, mask: str
) -> None:
    """In a container the kernel gives a user namespace no new /proc, and this is said."""
    run(["chown", "--recursive", "--no-dereference", "nobody:", root])
    steps = "ls /proc; cat /proc/uptime; ! touch /proc/new 2>/dev/null"
    argv = as_user([overlayfs_py, "chroot", root, "--", "sh", "-ec", steps])
    hide = f'mount --bind /dev/null {mask}; exec "$@"'
    with device_for_everybody():
        done = attempt(
            [*PRIVATE, hide, "sh", *argv],
            env={"TMPDIR": str(temporary), "PATH": os.defpath},
        )

    assert done.returncode == 0, done.stderr
    assert not re.search(r"^\d+$", done.stdout, re.MULTILINE)
    assert {"cpuinfo", "meminfo", "uptime"} <= set(done.stdout.split())
    assert done.stderr.startswith("overlayfs-py: /proc: empty but for files about the machine")
    assert len(done.stderr.splitlines()) == 1


def test_a_descriptor_of_the_caller_is_closed_in_the_command(
    overlayfs_py: Path, root: Path, tmp_path: Path
) -> None:
    opened = os.open(tmp_path, os.O_RDONLY)
    try:
        shown = subprocess.run(
            [overlayfs_py, "chroot", root, "--", "sh", "-c", "ls /proc/self/fd"],
            stdout=subprocess.PIPE,
            pass_fds=[opened],
            check=True,
            text=True,
        ).stdout
    finally:
        os.close(opened)
    assert shown.split() == ["0", "1", "2", "3"]  # the last is that of ls


class TestKeep:
    """The directory of `--keep` holds what an image keeps from others."""

    def run(self, overlayfs_py: Path, root: Path, keep: Path) -> subprocess.CompletedProcess[str]:
        return attempt([overlayfs_py, "chroot", root, "--keep", keep, "true"])

    def test_it_is_made_closed(self, overlayfs_py: Path, root: Path, scratch: Path) -> None:
        keep = scratch / "keep"

        assert self.run(overlayfs_py, root, keep).returncode == 0
        assert keep.stat().st_mode & 0o777 == 0o700

    def test_one_of_ours_is_closed(self, overlayfs_py: Path, root: Path, scratch: Path) -> None:
        (scratch / "keep/upper").mkdir(parents=True)

        assert self.run(overlayfs_py, root, scratch / "keep").returncode == 0
        assert (scratch / "keep").stat().st_mode & 0o777 == 0o700

    def test_a_directory_of_other_things_stays_as_it_is(
        self, overlayfs_py: Path, root: Path, scratch: Path
    ) -> None:
        keep = scratch / "keep"
        keep.mkdir(mode=0o755)
        (keep / "other").touch()
        done = self.run(overlayfs_py, root, keep)

        assert done.returncode == 125
        assert done.stderr == (f"overlayfs-py: {keep}: open to others (chmod 700 closes it)\n")
        assert list(keep.iterdir()) == [keep / "other"]

    def test_one_of_another_user_is_refused(
        self, overlayfs_py: Path, root: Path, scratch: Path
    ) -> None:
        keep = scratch / "keep"
        keep.mkdir(mode=0o700)
        run(["chown", "nobody", keep])
        done = self.run(overlayfs_py, root, keep)

        assert (done.returncode, done.stderr) == (
            125,
            f"overlayfs-py: {keep}: belongs to another user\n",
        )

    @pytest.mark.parametrize("name", ["", "upper", "work"])
    def test_a_link_is_refused(
        self, overlayfs_py: Path, root: Path, scratch: Path, name: str
    ) -> None:
        victim, keep = scratch / "victim", scratch / "keep"
        victim.mkdir(mode=0o700)
        if name:
            keep.mkdir(mode=0o700)
        (keep / name).symlink_to(victim)
        done = self.run(overlayfs_py, root, keep)

        assert done.returncode == 125
        assert done.stderr == f"overlayfs-py: {keep / name}: a symbolic link\n"
        assert list(victim.iterdir()) == []
