"""A throw-away upper is thrown away, however the command in it comes to its end."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.system.engine import make_root_filesystem
from tests.system.mount_table import mounts_below
from tests.system.processes import attempt, processes_naming, run, wait_until
from tests.system.untouched import untouched

if TYPE_CHECKING:
    from pathlib import Path

A_LONG_TIME = "98765.4321"  # of sleep(1); no other process has this argument


@pytest.fixture
def root(scratch: Path) -> Path:
    make_root_filesystem(scratch / "root")
    return scratch / "root"


@pytest.fixture
def temporary(scratch: Path) -> Path:
    """Where temporary files go, so that a test sees what stayed."""
    directory = scratch / "tmp"
    directory.mkdir()
    return directory


def environment(temporary: Path) -> dict[str, str]:
    return {"TMPDIR": str(temporary)}


def test_the_work_of_a_command_is_gone_when_it_ends(
    root: Path, temporary: Path, overlayfs_py: Path
) -> None:
    steps = "echo x > /made; rm -r /home; test -e /proc/self/status; test -c /dev/null; exit 3"
    with untouched((root,)):
        done = attempt(
            [overlayfs_py, "chroot", root, "--", "sh", "-ec", steps], env=environment(temporary)
        )

    assert done.returncode == 3, done.stderr
    assert list(temporary.iterdir()) == []
    assert mounts_below(temporary) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_no_mount_and_no_files(
    root: Path, temporary: Path, overlayfs_py: Path, number: signal.Signals
) -> None:
    """As ^C and a closed terminal do, the signal goes to the whole process group."""
    steps = f"echo x > /made; exec sleep {A_LONG_TIME}"
    process = subprocess.Popen(
        [overlayfs_py, "chroot", root, "--", "sh", "-c", steps],
        env=environment(temporary),
        start_new_session=True,
    )
    with process:
        wait_until(is_asleep, "the command to run")
        os.killpg(process.pid, number)

    assert process.returncode != 0
    wait_until(lambda: not processes_naming(A_LONG_TIME), "the command to end")
    assert list(temporary.iterdir()) == []
    assert mounts_below(temporary) == []


def is_asleep() -> bool:
    return any(argv[0] == "sleep" for argv in processes_naming(A_LONG_TIME).values())


def test_volumes_outlive_the_command(
    root: Path, temporary: Path, overlayfs_py: Path, scratch: Path
) -> None:
    kept, fixed = scratch / "kept", scratch / "fixed"
    for directory in (kept, fixed):
        directory.mkdir()
        (directory / "old").write_text("old\n")
    volumes = ["-v", f"{kept}:/home/data", "-v", f"{fixed}:/new/place:ro"]
    steps = "cat /home/data/old /new/place/old > /home/data/both; ! touch /new/place/no"
    with untouched((root, fixed)):
        run(
            [overlayfs_py, "chroot", root, *volumes, "--", "sh", "-ec", steps],
            env=environment(temporary),
        )

    assert sorted(entry.name for entry in kept.iterdir()) == ["both", "old"]
    assert (kept / "both").read_text() == "old\nold\n"


def test_environment_and_directory_are_as_asked(
    root: Path, temporary: Path, overlayfs_py: Path
) -> None:
    argv = ["-e", "GREETING=hello", "-w", "/home/data", "--", "sh", "-c", 'echo "$GREETING"; ls']
    shown = run([overlayfs_py, "chroot", root, *argv], env=environment(temporary))

    assert shown == "hello\nkept\n"


def test_a_kept_upper_holds_the_work(
    root: Path, temporary: Path, overlayfs_py: Path, scratch: Path
) -> None:
    keep = scratch / "keep"
    argv = [overlayfs_py, "chroot", root, "--keep", keep, "--"]
    run([*argv, "sh", "-ec", "echo x > /made; rm /etc/passwd"], env=environment(temporary))
    shown = run([*argv, "cat", "/made"], env=environment(temporary))

    assert shown == "x\n"
    assert (keep / "upper/made").read_text() == "x\n"
    assert (keep / "upper/etc/passwd").is_char_device()
