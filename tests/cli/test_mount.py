"""`overlayfs-py mount` and `umount`: the daemon's manners, and what the caller is told."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.drivers import pyfuse3_install
from tests.system.mount_table import mounted_at
from tests.system.processes import attempt, processes_naming, run, wait_until

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def target(scratch: Path) -> Path:
    for name in ("layer", "upper", "work", "merged"):
        (scratch / name).mkdir()
    (scratch / "layer/file").write_text("x\n")
    return scratch / "merged"


OPTIONS = "lowerdir=layer,upperdir=upper,workdir=work"


def daemon_of(target: Path) -> int:
    [pid] = processes_naming(str(target))
    return pid


def test_the_command_returns_when_the_mount_answers(
    overlayfs_py: Path, scratch: Path, target: Path
) -> None:
    """Pipes, not files: the daemon must not keep them open."""
    done = subprocess.run(
        [overlayfs_py, "mount", "-o", OPTIONS, target],
        cwd=scratch,
        capture_output=True,
        timeout=20,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (target / "file").read_text() == "x\n"
    run([overlayfs_py, "umount", target])
    assert mounted_at(target) is None


@pytest.mark.parametrize("driver", ["direct", "pyfuse3"])
def test_five_hundred_layers(overlayfs_py: Path, scratch: Path, target: Path, driver: str) -> None:
    """Each adds a name, takes the one below it away, and says something of a common file."""
    for number in range(500):
        directory = scratch / f"{number}/d/e"
        directory.mkdir(parents=True)
        (directory / f"own{number}").touch()
        (directory / "common").write_text(f"{number}")
        os.mknod(directory / f"own{number - 1}", stat.S_IFCHR)
    layers = ":".join(map(str, reversed(range(500))))

    run(
        [overlayfs_py, "mount", "--driver", driver, "-o", f"{OPTIONS},lowerdir={layers}", target],
        cwd=scratch,
    )
    try:
        names = os.listdir(target / "d/e")
        top = (target / "d/e/common").read_text()
        (target / "d/e/own499").rename(target / "d/moved")
        shutil.rmtree(target / "d/e")
        left = os.listdir(target / "d")
    finally:
        run([overlayfs_py, "umount", target])

    assert sorted(names) == ["common", "own499"]
    assert top == "499"
    assert left == ["moved"]


def test_the_daemon_keeps_nothing_of_its_caller(
    overlayfs_py: Path, scratch: Path, target: Path
) -> None:
    run([overlayfs_py, "mount", "-o", OPTIONS, target], cwd=scratch)
    pid = daemon_of(target)
    directory = os.readlink(f"/proc/{pid}/cwd")
    stdio = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)]
    session = os.getsid(pid)
    run([overlayfs_py, "umount", target])

    assert directory == "/"
    assert stdio == ["/dev/null"] * 3
    assert session == pid


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_a_caller_may_have_closed_stdin_stdout_and_stderr(
    mount_program: Path, scratch: Path, target: Path, closed: str
) -> None:
    """A layer, the upper or the device would get the number, and lose it to /dev/null later."""
    command = f'exec "$0" -o {OPTIONS} merged {closed}'
    done = subprocess.run(["sh", "-c", command, mount_program], cwd=scratch, timeout=20)

    assert done.returncode == 0
    (target / "file").write_text("y\n")
    assert (scratch / "upper/file").read_text() == "y\n"
    run(["umount", target])


def test_a_failure_without_stderr_is_told_by_the_exit_code(
    mount_program: Path, scratch: Path, target: Path
) -> None:
    command = 'exec "$0" -o lowerdir=missing merged 2>&-'
    done = subprocess.run(["sh", "-c", command, mount_program], cwd=scratch, timeout=20)

    assert done.returncode == 1


def test_in_the_foreground_interrupt_unmounts(
    overlayfs_py: Path, scratch: Path, target: Path
) -> None:
    command = subprocess.Popen(
        [overlayfs_py, "mount", "-f", "-o", OPTIONS, target], cwd=scratch, stderr=subprocess.PIPE
    )
    with command:
        wait_until(lambda: (target / "file").exists(), "the mount")
        command.send_signal(signal.SIGINT)
        assert command.wait(10) == 0
        assert command.stderr is not None
        assert command.stderr.read() == b""

    assert mounted_at(target) is None


@pytest.mark.parametrize("driver", ["auto", "direct", "pyfuse3"])
def test_every_driver_can_be_asked_for(
    overlayfs_py: Path, scratch: Path, target: Path, driver: str
) -> None:
    run([overlayfs_py, "mount", "--driver", driver, "-o", OPTIONS, target], cwd=scratch)
    names = os.listdir(target)
    run([overlayfs_py, "umount", target])

    assert names == ["file"]


def test_an_unknown_driver_is_refused(overlayfs_py: Path, target: Path) -> None:
    done = attempt([overlayfs_py, "mount", "--driver", "fast", "-o", OPTIONS, target])

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "'fast'" in done.stderr


def test_a_driver_that_cannot_be_loaded_is_one_line(
    overlayfs_py: Path, scratch: Path, target: Path
) -> None:
    """As where libfuse has been removed since."""
    (scratch / "modules").mkdir()
    missing = "libfuse3.so.3: cannot open shared object file"
    (scratch / "modules/pyfuse3.py").write_text(f"raise ImportError({missing!r})\n")
    environment = {"PYTHONPATH": str(scratch / "modules")}
    mount = [overlayfs_py, "mount", "--driver", "pyfuse3", "-o", OPTIONS, target]
    for command in (mount, [*mount, "-f"], [overlayfs_py, "chroot", "layer", "--driver=pyfuse3"]):
        done = attempt(command, env=environment, cwd=scratch)

        assert done.stderr == (
            f"overlayfs-py: driver pyfuse3: cannot be loaded ({missing});"
            f" install it: {pyfuse3_install.HOW}\n"
        )
        assert done.returncode == (125 if "chroot" in command else 1)


def test_a_failure_leaves_no_process(overlayfs_py: Path, scratch: Path, target: Path) -> None:
    done = attempt([overlayfs_py, "mount", "-o", "lowerdir=nowhere", target], cwd=scratch)

    assert done.returncode == 1
    assert done.stderr.startswith("overlayfs-py: ")
    assert done.stderr.endswith("nowhere: No such file or directory\n")
    assert processes_naming(str(target)) == {}


def test_killed_while_it_mounts_it_leaves_no_mount(
    overlayfs_py: Path, scratch: Path, target: Path
) -> None:
    """^C goes to the parent and to the daemon-to-be, which is still in its process group."""
    for delay_ms in range(0, 400, 40):
        command = subprocess.Popen(
            [overlayfs_py, "mount", "-o", OPTIONS, target], cwd=scratch, start_new_session=True
        )
        deadline = time.monotonic() + delay_ms / 1000
        wait_until(lambda until=deadline: time.monotonic() > until, "the moment to interrupt")
        os.killpg(command.pid, signal.SIGINT)
        if command.wait(10) == 0:
            run([overlayfs_py, "umount", target])
        wait_until(lambda: not processes_naming(str(target)), "everything to end")
        assert mounted_at(target) is None


def test_lazy_unmounts_what_is_in_use(overlayfs_py: Path, scratch: Path, target: Path) -> None:
    run([overlayfs_py, "mount", "-o", OPTIONS, target], cwd=scratch)
    with (target / "file").open() as file:
        refused = attempt([overlayfs_py, "umount", target])
        run([overlayfs_py, "umount", "--lazy", target])
        assert file.read() == "x\n"

    assert refused.returncode == 1
    assert refused.stderr == f"overlayfs-py: {target}: Device or resource busy\n"
    assert mounted_at(target) is None


def test_unknown_options_are_reported_by_name(
    overlayfs_py: Path, scratch: Path, target: Path
) -> None:
    options = f"{OPTIONS},bogus=off,,timeout=0"
    done = attempt([overlayfs_py, "mount", "-o", options, "-o", "odd", target], cwd=scratch)
    run([overlayfs_py, "umount", target])

    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "overlayfs-py: bogus: unknown option, ignored",
        "overlayfs-py: odd: unknown option, ignored",
    ]


def test_refusing_takes_no_time(overlayfs_py: Path, mount_program: Path, target: Path) -> None:
    """What needs no mount must not wait for trio and pyfuse3 to load."""
    for argv in ([overlayfs_py, "mount", "-o", "ro"], [mount_program, "-o", "ro"]):
        trace = attempt([str(argv[0].parent / "python"), "-X", "importtime", *argv, target])
        loaded = {line.rpartition("|")[2].strip() for line in trace.stderr.splitlines()}

        assert trace.returncode == 2
        assert "overlayfs_py.backends.mount_options" in loaded
        assert loaded.isdisjoint({"trio", "pyfuse3", "lz4", "overlayfs_py.union.core"})


def test_the_mount_program_does_not_load_click(mount_program: Path) -> None:
    python = str(mount_program.parent / "python")
    trace = attempt([python, "-X", "importtime", mount_program, "--version"])

    assert trace.stdout.startswith("fuse-overlayfs-py: version ")
    assert "fuse-overlayfs: version " in trace.stdout
    assert "click" not in trace.stderr


def test_mounting_directories_loads_nothing_for_other_layers(
    overlayfs_py: Path, scratch: Path, target: Path
) -> None:
    """It takes as long as half a dozen starts of an interpreter, each module a part of that."""
    python = str(overlayfs_py.parent / "python")
    command = [overlayfs_py, "mount", "-o", OPTIONS, target]
    trace = attempt([python, "-X", "importtime", *command], cwd=scratch)
    run([overlayfs_py, "umount", target])
    loaded = {line.rpartition("|")[2].strip() for line in trace.stderr.splitlines()}

    assert "overlayfs_py.union.core" in loaded
    assert loaded.isdisjoint({"click", "pyfuse3", "lz4", "hashlib", "overlayfs_py.packs.layer"})
