"""`overlayfs-py chroot`: what the command finds around it, and what its end leaves."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.cli.chrooting import shell
from tests.system.processes import attempt, run
from tests.system.unprivileged import as_user, device_for_everybody
from tests.system.untouched import untouched

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.chrooting import Chroot


def test_the_command_is_root_in_a_writable_root(chroot: Chroot) -> None:
    steps = "id -u; id -g; echo x > /made; rm -r /usr; mv /home /house; ls /; cat /house/data/kept"

    shown = shell(chroot, steps)

    assert shown[:2] == ["0", "0"]
    assert "made" in shown
    assert "usr" not in shown
    assert shown[-1] == "kept"


@pytest.mark.parametrize(
    ("steps", "status"),
    [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)],
)
def test_the_commands_exit_status_is_ours(chroot: Chroot, steps: str, status: int) -> None:
    assert chroot("--", "sh", "-c", steps).returncode == status


def test_an_orphan_does_not_outlive_the_command(chroot: Chroot) -> None:
    assert shell(chroot, "(sleep 98765; echo never) & echo started") == ["started"]


def test_orphans_are_reaped(chroot: Chroot) -> None:
    steps = """
        ((sh -c 'echo first' &) ; (sh -c 'echo second' &)) | sort  # which waits until both end
        tries=0
        while ps -o stat | grep -q Z && test $tries -lt 500; do tries=$((tries + 1)); done
        ps -o stat | grep -c Z || true
    """
    assert shell(chroot, steps) == ["first", "second", "0"]


def test_what_cannot_be_run_is_126_or_127(chroot: Chroot) -> None:
    missing = chroot("--", "no-such-command")
    forbidden = chroot("--", "/etc/passwd")

    assert (missing.returncode, missing.stderr) == (
        127,
        "overlayfs-py: no-such-command: No such file or directory\n",
    )
    assert (forbidden.returncode, forbidden.stderr) == (
        126,
        "overlayfs-py: /etc/passwd: Permission denied\n",
    )


def test_what_is_our_failure_is_125(overlayfs_py: Path, root: Path, temporary: Path) -> None:
    nowhere = root / "nowhere"
    refusals = {
        f"{nowhere}: No such file or directory": [nowhere],
        "/nowhere: No such file or directory": [root, "-w", "/nowhere"],
        "not a directory": [root, "-w", "/etc/passwd"],
        f"{nowhere}": [root, "-v", f"{nowhere}:/data"],
        "/proc/none": [root, "--keep", "/proc/none"],
    }
    for words, arguments in refusals.items():
        done = attempt([overlayfs_py, "chroot", *arguments, "true"], env={"TMPDIR": str(temporary)})
        assert done.returncode == 125
        assert re.fullmatch(r"overlayfs-py: .+\n", done.stderr)
        assert words.lower() in done.stderr.lower()
        assert list(temporary.iterdir()) == []


def test_a_machine_without_room_for_temporary_files_is_125(overlayfs_py: Path, root: Path) -> None:
    command = ["prlimit", "--fsize=0", overlayfs_py, "chroot", root, "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 125
    assert done.stderr.startswith("overlayfs-py: No usable temporary directory found in ")
    assert len(done.stderr.splitlines()) == 1


def test_the_environment_is_the_containers_own(chroot: Chroot) -> None:
    shown = shell(chroot, "env", "-e", "A=1", "-e", "B=x=y", "-e", "HOME=/h")

    assert {"A=1", "B=x=y", "HOME=/h"} <= set(shown)
    assert "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" in shown
    assert not any(line.startswith(("LEAKED", "TMPDIR")) for line in shown)


def test_the_command_starts_where_it_is_told(chroot: Chroot) -> None:
    assert shell(chroot, "pwd") == ["/"]
    assert shell(chroot, "pwd", "-w", "/home/data") == ["/home/data"]


def test_options_of_the_command_are_not_ours(chroot: Chroot) -> None:
    """With or without the two dashes, all after the first word is the command's."""
    expected = ["-v", "--keep", "-e", "--"]
    script = ["sh", "-c", 'printf "%s\\n" "$@"', "sh", *expected]

    assert chroot(*script).stdout.splitlines() == expected
    assert chroot("--", *script).stdout.splitlines() == expected


def test_without_a_command_there_is_a_shell(overlayfs_py: Path, root: Path) -> None:
    done = subprocess.run(
        [overlayfs_py, "chroot", root], input="echo $0; exit 3", capture_output=True, text=True
    )

    assert (done.returncode, done.stdout) == (3, "/bin/sh\n")


def test_proc_shows_the_container_alone(chroot: Chroot) -> None:
    steps = "ps -o pid; readlink /proc/self/root; readlink /proc/1/root; cat /proc/mounts"

    shown = shell(chroot, steps)
    pids = [int(line) for line in shown[1 : shown.index("/")]]
    mounts = [line.split()[1:3] for line in shown if line.count(" ") >= 5]

    assert sorted(pids)[:2] == [1, 2]
    assert len(pids) == 3
    assert mounts[0] == ["/", "fuse.fuse-overlayfs-py"]
    files = {"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"}
    tops = {target.split("/")[1] for target, _ in mounts if target not in files}
    assert tops == {"", "proc", "sys", "dev"}


def test_devices_work(chroot: Chroot) -> None:
    steps = """
        echo x > /dev/null
        test "$(dd if=/dev/zero bs=5 count=1 2>/dev/null | od -An -tx1)" = ' 00 00 00 00 00'
        test "$(dd if=/dev/urandom bs=16 count=1 2>/dev/null | wc -c)" = 16
        ! echo x 2>/dev/null > /dev/full
        echo kept > /dev/shm/file; cat /dev/shm/file
        echo through | cat /dev/stdin
        echo by number | cat /dev/fd/0
        (echo out > /dev/stdout) | cat
        test -c /dev/ptmx
        ls /dev
    """.replace(" od ", " busybox od ").replace(" wc ", " busybox wc ")
    shown = shell(chroot, steps)

    assert shown[:4] == ["kept", "through", "by number", "out"]
    devices = {
        "null",
        "zero",
        "full",
        "random",
        "urandom",
        "tty",
        "ptmx",
        "pts",
        "mqueue",
        "shm",
        "fd",
        "fuse",
    }
    assert devices | {"stdin", "stdout", "stderr"} == set(shown[4:])


def test_sys_is_there_to_read(chroot: Chroot) -> None:
    shown = shell(chroot, "ls /sys; ! mkdir /sys/kernel/new 2>/dev/null")

    assert "kernel" in shown


def test_missing_mountpoints_are_there_and_leave_nothing(
    overlayfs_py: Path, root: Path, scratch: Path
) -> None:
    for name in ("proc", "sys", "dev"):
        (root / name).rmdir()
    keep = scratch / "keep"

    with untouched((root,)):
        run([overlayfs_py, "chroot", root, "--keep", keep, "--", "cat", "/proc/self/status"])

    assert list((keep / "upper").iterdir()) == []


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_a_link_for_a_mountpoint_leads_nowhere(
    chroot: Chroot, root: Path, scratch: Path, name: str
) -> None:
    """Followed on the host it would mount over the host's directory; even in the image it lies."""
    victim = scratch / "victim"
    victim.mkdir()
    (root / name).rmdir()
    (root / name).symlink_to(victim)

    done = chroot("--", "true")

    assert done.returncode == 125
    assert done.stderr == (
        f"overlayfs-py: /{name}: cannot be set up in the container: Not a directory\n"
    )
    assert list(victim.iterdir()) == []


def test_nothing_of_the_host_is_open_inside(
    overlayfs_py: Path, root: Path, temporary: Path
) -> None:
    """A directory of the host, open in the command or in init, would lead out."""
    host_fd = os.open("/", os.O_RDONLY)
    os.set_inheritable(host_fd, True)
    steps = "ls -l /proc/1/fd /proc/$$/fd"
    shown = subprocess.run(
        [overlayfs_py, "chroot", root, "--", "sh", "-c", steps],
        env={"TMPDIR": str(temporary)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        pass_fds=[host_fd],
        check=True,
    ).stdout
    os.close(host_fd)

    open_files = re.findall(r" (\d+) -> (.*)$", shown, re.MULTILINE)
    assert [int(fd) for fd, _ in open_files] == [0, 1, 2, 0, 1, 2]
    assert all(target.startswith(("pipe:", "/dev/null")) for _, target in open_files)


def test_volumes_are_the_hosts_own_directories(
    chroot: Chroot, scratch: Path, request: pytest.FixtureRequest
) -> None:
    kept, fixed = scratch / "kept", scratch / "fixed"
    for directory in (kept, fixed):
        directory.mkdir()
        (directory / "old").write_text(f"{directory.name}\n")
        run(["chown", "--recursive", "nobody:", directory])
    steps = """
        cat /home/data/old /new/place/old
        echo new > /home/data/new
        ! echo no 2>/dev/null > /new/place/no
    """
    shown = shell(chroot, steps, "-v", f"{kept}:/home/data", "-v", f"{fixed}:/new/place:ro")

    assert shown == ["kept", "fixed"]
    assert (kept / "new").read_text() == "new\n"
    assert not (fixed / "no").exists()


def test_layers_stack_topmost_first(overlayfs_py: Path, root: Path, scratch: Path) -> None:
    patch = scratch / "with:colon"
    (patch / "etc").mkdir(parents=True)
    (patch / "etc/passwd").write_text("patched\n")
    layers = f"{scratch}/with\\:colon:root"

    shown = run([overlayfs_py, "chroot", layers, "cat", "/etc/passwd"], cwd=scratch)

    assert shown == "patched\n"


def test_the_containers_root_has_the_mode_of_the_topmost_layers(
    overlayfs_py: Path, root: Path
) -> None:
    root.chmod(0o751)
    os.chown(root, 3, 4)

    assert run([overlayfs_py, "chroot", root, "stat", "-c", "%a %u %g", "/"]) == "751 3 4\n"


def test_an_ordinary_user_with_subordinate_ids_has_all_owners(
    overlayfs_py: Path, root: Path, scratch: Path, temporary: Path
) -> None:
    """What belongs to another owner goes away as well: the keeper is root of the namespace."""
    run(["chown", "--recursive", "--no-dereference", "nobody:", root])
    table = scratch / "subids"
    table.write_text("nobody:200000:65536\n")
    steps = (
        "mkdir -m 700 /d; touch /d/f; chown -R 33:44 /d; chmod 0 /d; stat -c '%u %g' /d;"
        "cat /proc/self/uid_map"
    )
    show_table = f'mount --bind {table} /etc/subuid; mount --bind {table} /etc/subgid; exec "$@"'
    argv = as_user([overlayfs_py, "chroot", root, "--", "sh", "-ec", steps])

    with untouched((root,)), device_for_everybody():
        shown = run(
            [
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-ec",
                show_table,
                "sh",
                *argv,
            ],
            env={"TMPDIR": str(temporary), "PATH": os.defpath},
        )

    assert shown.splitlines()[0] == "33 44"
    assert [line.split() for line in shown.splitlines()[1:]] == [
        ["0", "65534", "1"],
        ["1", "200000", "65536"],
    ]
    assert list(temporary.iterdir()) == []


def test_signals_that_the_caller_ignores_stay_ignored(
    overlayfs_py: Path, root: Path, temporary: Path
) -> None:
    """As nohup(1) wants it; and what Python ignores is not ignored for the command."""
    steps = 'while read line; do echo "$line"; done < /proc/self/status | grep SigIgn'
    argv = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh", overlayfs_py, "chroot", root]

    [line] = run([*argv, "--", "sh", "-c", steps]).splitlines()

    ignored = int(line.split()[1], 16)
    assert ignored == 1 << (signal.SIGHUP - 1)
