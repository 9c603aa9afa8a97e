"""A daemon that is killed at any point leaves each file old or new, and nothing that harms."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.snapshot import differences, snapshot
from tests.system import interrupted_work as work
from tests.system.interrupted_work import STEPS, content
from tests.system.mount_table import mounted_at
from tests.system.processes import attempt, processes_naming, run, wait_until
from tests.system.stack import EMPTY, Stack

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 8


def daemon_of(stack: Stack) -> int:
    """Return the pid of the daemon that serves the mount.

    Loading trio runs ldconfig, which has the daemon's arguments until it has its own.
    """
    target = str(stack.target)
    wait_until(lambda: len(processes_naming(target)) == 1, "the daemon to be alone")
    [pid] = processes_naming(target)
    return pid


def work_until_killed(stack: Stack, done_steps: int) -> None:
    """Kill the daemon while the step after `done_steps` is under way."""
    daemon = daemon_of(stack)
    worker = subprocess.Popen(
        [sys.executable, work.__file__, str(stack.target)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with worker:
        assert worker.stdout is not None
        assert worker.stderr is not None
        for _ in range(done_steps):
            assert worker.stdout.readline(), worker.stderr.read().decode()
        os.kill(daemon, signal.SIGKILL)
        worker.stdout.read()
        assert worker.stderr.read().decode() == ""
    assert worker.returncode == 0


def assert_each_is_old_or_new(root: Path) -> None:
    for number in range(STEPS):
        assert_large_file_is_whole(root / f"large{number}", number)
        assert_exactly_one(root / f"from{number}", root / f"to{number}", content("from", number))
        old, new = (root / f"{age}_directory{number}" for age in ("old", "new"))
        assert_exactly_one(old / "inside", new / "inside", content("inside", number))
        assert old.exists() != new.exists()
        replaced = (root / f"replaced{number}").read_bytes()
        assert replaced in {content("replaced", number), content("version", number)}
        assert_mode_only(root / f"mode{number}", number)
        removed = root / f"removed{number}"
        assert not removed.exists() or removed.read_bytes() == content("removed", number)
        assert_untarred_in_order(root / f"untarred{number}", number)


def assert_large_file_is_whole(file: Path, number: int) -> None:
    assert file.read_bytes() in {content("large", number), content("large", number) + b"appended"}


def assert_exactly_one(old: Path, new: Path, expected: bytes) -> None:
    assert old.exists() != new.exists(), f"{old.name}: {old.exists()}, {new.name}: {new.exists()}"
    assert (old if old.exists() else new).read_bytes() == expected


def assert_mode_only(file: Path, number: int) -> None:
    assert file.read_bytes() == content("mode", number)
    assert stat.S_IMODE(file.stat().st_mode) in {work.OLD_MODE, work.NEW_MODE}


def assert_untarred_in_order(directory: Path, number: int) -> None:
    """Extraction is not atomic, but what is there is a beginning of what was to come."""
    found = [name for name in ("a", "b") if (directory / name).exists()]
    assert found in ([], ["a"], ["a", "b"])
    for name in found:
        assert content(name, number).startswith((directory / name).read_bytes())


@pytest.fixture
def stack(scratch: Path) -> Stack:
    layer = scratch / "layer"
    layer.mkdir()
    work.lay_out(layer)
    return Stack.make(scratch / "mount", (layer,))


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_killed_daemon_leaves_each_file_old_or_new(
    stack: Stack, overlayfs_py: Path, seed: int
) -> None:
    last = STEPS * len(work.CHANGES) - len(work.CHANGES)
    done_steps = random.Random(seed).randrange(last)
    run([overlayfs_py, "mount", "-o", stack.options, stack.target], env=EMPTY)
    work_until_killed(stack, done_steps)

    assert mounted_at(stack.target) is not None
    run([overlayfs_py, "umount", stack.target], env=EMPTY)
    assert mounted_at(stack.target) is None
    with stack.mounted(overlayfs_py):
        assert_each_is_old_or_new(stack.target)
        ours = snapshot(stack.target, mtime=True)
        (stack.target / "large0").write_text("still writable\n")
        (stack.target / "large0").unlink()
    assert leftovers(stack.work) == []

    (stack.upper / "large0").unlink()  # the whiteout of the last probe
    ours.pop(b"large0")
    assert_kernel_shows(stack, ours)


def leftovers(workdir: Path) -> list[Path]:
    """Return the staged files of changes that never came to be; an empty directory is none."""
    return [path for path in workdir.rglob("*") if not path.is_dir() and path.name != "lock"]


def assert_kernel_shows(stack: Stack, expected: dict[bytes, object]) -> None:
    with stack.mounted_by_kernel() as merged:
        kernels = snapshot(merged, mtime=True, check_inodes=False)
    kernels.pop(b"large0", None)
    kernels.pop(b".")
    expected.pop(b".")
    assert [str(line) for line in differences(expected, kernels)] == []


def test_a_dead_mount_answers_nobody_and_umount_clears_it(stack: Stack, overlayfs_py: Path) -> None:
    run([overlayfs_py, "mount", "-o", stack.options, stack.target], env=EMPTY)
    os.kill(daemon_of(stack), signal.SIGKILL)
    listed = attempt(["ls", stack.target])

    assert listed.returncode != 0
    run([overlayfs_py, "umount", stack.target], env=EMPTY)
    assert list(stack.target.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_unmounts(stack: Stack, overlayfs_py: Path, number: signal.Signals) -> None:
    run([overlayfs_py, "mount", "-o", stack.options, stack.target], env=EMPTY)
    (stack.target / "mode0").chmod(0o600)
    daemon = daemon_of(stack)
    os.kill(daemon, number)
    wait_until(lambda: not processes_naming(str(stack.target)), "the daemon to end")

    assert mounted_at(stack.target) is None
    assert stat.S_IMODE((stack.upper / "mode0").stat().st_mode) == 0o600
