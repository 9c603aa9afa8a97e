"""However `overlayfs-py chroot` comes to its end: no mount, no file, no process is left."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.containers import supervision
from tests.system.mount_table import mounts_below
from tests.system.processes import processes_naming, run, wait_until
from tests.system.unprivileged import as_user, device_for_everybody

if TYPE_CHECKING:
    from collections.abc import Iterator

_LITTLE_GRACE_S = 0.5
A_LONG_TIME = f"87654.{os.getpid()}"  # of sleep(1); no other process has this argument


@dataclass
class Running:
    """A container whose command is in the middle of something."""

    process: subprocess.Popen[str]  # the supervisor
    temporary: Path

    def children(self, pid: int | None = None) -> list[int]:
        pid = self.process.pid if pid is None else pid
        return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))

    @property
    def init(self) -> int:
        """The child that has children of its own."""
        [init] = [pid for pid in self.children() if self.children(pid)]
        return init

    @property
    def command(self) -> int:
        [command] = self.children(self.init)
        return command

    @property
    def daemon(self) -> int:
        """The child that has the device open."""
        [daemon] = [pid for pid in self.children() if self._opens(pid, "/dev/fuse")]
        return daemon

    @staticmethod
    def _opens(pid: int, name: str) -> bool:
        return any(os.readlink(entry) == name for entry in Path(f"/proc/{pid}/fd").iterdir())


def assert_gone(temporary: Path) -> None:
    wait_until(lambda: not processes_naming(A_LONG_TIME), "the command to end")
    wait_until(lambda: not list(temporary.iterdir()), "the files to go")
    assert not processes_naming(str(temporary))
    assert mounts_below(temporary) == []


@pytest.fixture(params=["root", "user"])
def running(
    request: pytest.FixtureRequest, overlayfs_py: Path, root: Path, temporary: Path
) -> Iterator[Running]:
    steps = (
        "mkdir -p /deep/directory; echo x > /deep/directory/file; chmod 0 /deep; rm -r /home;"
        f"sleep {A_LONG_TIME}"
    )
    argv: list[object] = [overlayfs_py, "chroot", root, "--", "sh", "-c", steps]
    if request.param == "user":
        run(["chown", "--recursive", "--no-dereference", "nobody:", root])
        argv = as_user(argv)
    with device_for_everybody():
        process = subprocess.Popen(
            argv,
            env={"TMPDIR": str(temporary)},
            start_new_session=True,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                wait_until(is_asleep, "the command to run")
                yield Running(process, temporary)
            finally:
                process.kill()


def is_asleep() -> bool:
    return any(argv[0] == "sleep" for argv in processes_naming(A_LONG_TIME).values())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_to_us_reaches_the_command(running: Running, number: signal.Signals) -> None:
    """The shell inside ends by it, its child too when the namespace goes."""
    running.process.send_signal(number)

    assert running.process.wait(8) == 128 + number
    assert list(running.temporary.iterdir()) == []  # already: we wait for that
    assert_gone(running.temporary)


def test_interrupt_to_the_group_ends_all(running: Running) -> None:
    os.killpg(running.process.pid, signal.SIGINT)

    assert running.process.wait(8) == 128 + signal.SIGINT
    assert list(running.temporary.iterdir()) == []
    assert_gone(running.temporary)


def test_kill_of_the_supervisor_leaves_nothing(running: Running) -> None:
    running.process.kill()
    running.process.wait()

    assert_gone(running.temporary)


def test_kill_of_the_whole_group_leaves_nothing(running: Running) -> None:
    """The daemon and the keeper are in sessions of their own, for this."""
    os.killpg(running.process.pid, signal.SIGKILL)
    running.process.wait()

    assert_gone(running.temporary)


def test_kill_of_the_command_is_its_status(running: Running) -> None:
    os.kill(running.command, signal.SIGKILL)

    assert running.process.wait(8) == 128 + signal.SIGKILL
    assert_gone(running.temporary)


def test_kill_of_init_ends_the_container(running: Running) -> None:
    os.kill(running.init, signal.SIGKILL)

    assert running.process.wait(8) == 128 + signal.SIGKILL
    assert_gone(running.temporary)


def test_kill_of_the_daemon_ends_the_container_and_says_so(running: Running) -> None:
    os.kill(running.daemon, signal.SIGKILL)

    assert running.process.wait(8) == 125
    assert running.process.stderr is not None
    assert running.process.stderr.read() == (
        "overlayfs-py: the daemon of the filesystem ended before the command: killed by SIGKILL\n"
    )
    assert_gone(running.temporary)


def test_the_mount_is_seen_by_nobody_outside(running: Running) -> None:
    [scratch] = running.temporary.iterdir()

    assert mounts_below(running.temporary) == []
    assert list((scratch / "root").iterdir()) == []
    [ours] = mounts_below(running.temporary, pid=running.process.pid)
    assert ours.target == scratch / "root"
    running.process.terminate()
    running.process.wait()
    assert_gone(running.temporary)


def test_patience_with_a_command_that_does_not_end_is_limited(
    overlayfs_py: Path, root: Path, temporary: Path
) -> None:
    assert supervision.GRACE_S == 10  # what docker has, and the documents say
    impatient = f"""
from overlayfs_py.containers import supervision
supervision.GRACE_S = {_LITTLE_GRACE_S}
from overlayfs_py.__main__ import main
main()
"""
    script = f"trap '' TERM; sleep {A_LONG_TIME}"
    process = subprocess.Popen(
        [sys.executable, "-c", impatient, "chroot", root, "--", "sh", "-c", script],
        env={"TMPDIR": str(temporary)},
    )
    with process:
        wait_until(is_asleep, "the command to run")
        began = time.monotonic()
        process.terminate()

        assert process.wait(8) == 128 + signal.SIGKILL
        assert time.monotonic() - began >= _LITTLE_GRACE_S
    assert_gone(temporary)


def in_terminal(argv: list[object], temporary: Path) -> tuple[int, int]:
    """Start a command as the leader of a session with a terminal; returns its pid and our end."""
    pid, terminal = pty.fork()
    if not pid:
        os.execve(str(argv[0]), list(map(str, argv)), {"TMPDIR": str(temporary)})
    return pid, terminal


def test_interrupt_on_the_terminal_reaches_the_command_once(
    overlayfs_py: Path, root: Path, temporary: Path
) -> None:
    steps = f"trap 'echo caught; n=$((n+1))' INT; sleep {A_LONG_TIME}; echo n=$n; exit 5"
    pid, terminal = in_terminal([overlayfs_py, "chroot", root, "--", "sh", "-c", steps], temporary)
    wait_until(is_asleep, "the command to run")
    os.write(terminal, b"\x03")

    _, status = os.waitpid(pid, 0)
    shown = os.read(terminal, 4096).decode()
    os.close(terminal)

    assert os.waitstatus_to_exitcode(status) == 5
    assert shown.count("caught") == 1
    assert "n=1" in shown
    assert list(temporary.iterdir()) == []


def test_a_shell_inside_has_the_terminal(overlayfs_py: Path, root: Path, temporary: Path) -> None:
    steps = "test -t 0 && echo is a terminal; stty > /dev/null && echo can be asked"
    pid, terminal = in_terminal([overlayfs_py, "chroot", root, "--", "sh", "-c", steps], temporary)
    _, status = os.waitpid(pid, 0)
    shown = os.read(terminal, 4096).decode().split("\r\n")
    os.close(terminal)

    assert status == 0
    assert shown[:2] == ["is a terminal", "can be asked"]


def test_a_killed_login_shell_takes_all_with_it(
    overlayfs_py: Path, root: Path, temporary: Path
) -> None:
    """The session leader dies, the terminal hangs up, its foreground group hears of it."""
    script = f"{overlayfs_py} chroot {root} -- sh -c 'sleep {A_LONG_TIME}'; true"
    pid, terminal = in_terminal(["/bin/sh", "-c", script], temporary)
    wait_until(is_asleep, "the command to run")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    assert_gone(temporary)
    os.close(terminal)


def test_a_closed_terminal_takes_all_with_it(
    overlayfs_py: Path, root: Path, temporary: Path
) -> None:
    pid, terminal = in_terminal(
        [overlayfs_py, "chroot", root, "--", "sh", "-c", f"sleep {A_LONG_TIME}"], temporary
    )
    wait_until(is_asleep, "the command to run")
    os.close(terminal)
    os.waitpid(pid, 0)

    assert list(temporary.iterdir()) == []
    assert not is_asleep()


def test_killed_at_any_moment_of_its_start_it_leaves_nothing(
    overlayfs_py: Path, root: Path, temporary: Path
) -> None:
    has_run = False  # before it was killed: later moments are other tests'
    for delay_ms in range(50, 3000, 25):
        if has_run:
            break
        process = subprocess.Popen(
            [overlayfs_py, "chroot", root, "--", "sleep", A_LONG_TIME],
            env={"TMPDIR": str(temporary)},
            stderr=subprocess.DEVNULL,
        )
        with process:
            try:
                process.wait(delay_ms / 1000)
            except subprocess.TimeoutExpired:
                has_run = is_asleep()
                process.kill()
        wait_until(lambda: not processes_naming(str(root)), "all processes to end")
        assert list(temporary.iterdir()) == []
        assert not is_asleep()
    assert has_run
