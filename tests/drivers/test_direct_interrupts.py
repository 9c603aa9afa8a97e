"""Signals to programs that wait for a copy-up: who is killed ends at once, nobody else notices."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.syscalls import files
from overlayfs_py.syscalls.files import RENAME_EXCHANGE
from tests.drivers.serving import Stack, is_copying_up, serving, wait_until, with_driver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CONTENT = b"as it was"
WRITE = """
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY)
print(flush=True)
os.pwrite(fd, b"changed", 0)
"""
# chmod is a call that Python does not repeat after EINTR.
CHMOD_UNDER_ALARM = """
import os, signal, sys
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
print(flush=True)
os.chmod(sys.argv[1], 0o640)
signal.setitimer(signal.ITIMER_REAL, 0)  # at its end Python takes the handler back
"""


@pytest.fixture
def stack(scratch: Path) -> Stack:
    with_driver.set("direct")
    return Stack(scratch)


@pytest.fixture
def go(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Serves a stack whose copy-ups wait for this file."""
    (stack.lower / "file").write_bytes(CONTENT)
    (stack.lower / "elsewhere").mkdir()
    file = stack.base / "go"
    monkeypatch.setenv("GO", os.fspath(file))
    with serving(stack.spec, stack.plan, runner="held_runner"):
        yield file
        file.touch()


@contextmanager
def waiting(stack: Stack, script: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program that waits for the copy-up of `file`."""
    command = [sys.executable, "-c", script, stack.target / "file"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        program.stdout.readline()
        assert wait_until(lambda: is_waiting(program.pid))
        yield program


def is_waiting(pid: int) -> bool:
    """Whether a program waits for an answer, or for another that does."""
    with open(f"/proc/{pid}/stack") as stack:
        return "fuse_" in stack.read()


def test_who_is_killed_ends_at_once_and_changes_nothing(stack: Stack, go: Path) -> None:
    with waiting(stack, WRITE) as writer:
        writer.kill()
        status = writer.wait(5)
        alive = sorted(os.listdir(stack.target))
    go.touch()
    os.utime(stack.target / "file")  # waits for the copy-up

    assert status == -signal.SIGKILL
    assert alive == ["elsewhere", "file"]
    assert (stack.target / "file").read_bytes() == CONTENT
    assert (stack.upper / "file").read_bytes() == CONTENT
    assert [path for path in stack.work.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_any_fatal_signal_does(stack: Stack, go: Path, number: signal.Signals) -> None:
    script = f"import signal; signal.signal({int(number)}, signal.SIG_DFL)\n{WRITE}"
    with waiting(stack, script) as writer:
        writer.send_signal(number)
        status = writer.wait(5)

    assert not go.exists()
    assert status == -number


def test_one_of_two_who_wait_is_killed(stack: Stack, go: Path) -> None:
    with (
        waiting(stack, WRITE) as first,
        waiting(stack, WRITE.replace("changed", "CHANGED")) as second,
    ):
        first.kill()
        first.wait(5)
        os.stat(stack.target / "file")
        go.touch()
        status = second.wait(5)

    assert status == 0
    assert (stack.target / "file").read_bytes() == b"CHANGEDas"


def test_no_other_signal_is_noticed(stack: Stack, go: Path) -> None:
    with waiting(stack, CHMOD_UNDER_ALARM) as program:
        timer = threading.Timer(0.3, go.touch)
        timer.start()
        status = program.wait(5)
        timer.join()

    assert status == 0
    assert (stack.upper / "file").stat().st_mode & 0o777 == 0o640


def test_who_is_killed_after_other_signals_ends_at_once(stack: Stack, go: Path) -> None:
    """The kernel tells of the first signal alone."""
    with waiting(stack, CHMOD_UNDER_ALARM) as program:
        assert wait_until(lambda: is_pending(program.pid, signal.SIGALRM))
        program.kill()
        status = program.wait(5)

    assert not go.exists()
    assert status == -signal.SIGKILL


def is_pending(pid: int, number: signal.Signals) -> bool:
    with open(f"/proc/{pid}/status") as status:
        masks = [int(line.split()[1], 16) for line in status if line.startswith("ShdPnd")]
    return bool(masks[0] >> (number - 1) & 1)


LARGE_CHANGES = {
    "exchange": lambda file: rename(file.parent / "upper", file, RENAME_EXCHANGE),
    "move": lambda file: file.rename(file.parent / "moved"),
    "link": lambda file: os.link(file, file.parent / "linked"),
    "flags": lambda file: subprocess.run(["chattr", "+d", file], check=True),
    "allocate": lambda file: subprocess.run(["fallocate", "-l", "1000", file], check=True),
    "truncate": lambda file: os.truncate(file, 3),
    "mark": lambda file: os.setxattr(file, "user.mark", b""),
    "chown": lambda file: os.chown(file, 1, 1),
}


def rename(old: Path, new: Path, flags: int) -> None:
    files.rename(-100, os.fsencode(old), -100, os.fsencode(new), flags)


@pytest.mark.parametrize("change", LARGE_CHANGES.values(), ids=LARGE_CHANGES)
def test_others_are_served_whatever_a_copy_up_is_for(
    stack: Stack, go: Path, change: Callable[[Path], object]
) -> None:
    (stack.target / "upper").touch()
    # Elsewhere: the kernel itself locks the directory of what is renamed or linked.
    elsewhere = os.open(stack.target / "elsewhere", os.O_PATH)
    with ThreadPoolExecutor() as pool:
        changing = pool.submit(change, stack.target / "file")
        assert wait_until(lambda: is_copying_up(stack))
        with pytest.raises(FileNotFoundError):
            os.stat("never asked before", dir_fd=elsewhere)
        under_way = not changing.done()
        go.touch()
        changing.result(10)
    os.close(elsewhere)

    assert under_way
    assert (stack.lower / "file").read_bytes() == CONTENT
