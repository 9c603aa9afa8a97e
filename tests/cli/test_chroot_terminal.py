"""`overlayfs-py chroot` on a terminal: CMD has another one, and the user's is as it was."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING

import pytest

from tests.system.processes import processes_naming, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Start = Callable[..., "OnTerminal"]

A_LONG_TIME = f"76543.{os.getpid()}"  # of sleep(1); no other process has this argument
_LOCAL_FLAGS = 3


class OnTerminal:
    """A command as the leader of a session with a terminal, and that terminal's other end."""

    def __init__(self, argv: list[object], temporary: Path, size: tuple[int, int]) -> None:
        self.pid, self.fd = pty.fork()
        if not self.pid:
            self._resize(0, size)
            os.execve(str(argv[0]), list(map(str, argv)), {"TMPDIR": str(temporary)})
        self.seen = ""
        self.status: int | None = None

    @staticmethod
    def _resize(fd: int, size: tuple[int, int]) -> None:
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("4H", *size, 0, 0))

    def resize(self, size: tuple[int, int]) -> None:
        self._resize(self.fd, size)

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + 20
        while text not in self.seen:
            assert time.monotonic() < deadline, f"no {text!r} in {self.seen!r}"
            if select.select([self.fd], [], [], 0.1)[0]:
                self.seen += os.read(self.fd, 65536).decode(errors="replace")

    def end(self) -> int:
        """Wait for the end and return the exit status; all that was shown is seen."""
        while True:
            assert select.select([self.fd], [], [], 30)[0], f"no end after {self.seen!r}"
            try:
                data = os.read(self.fd, 65536)
            except OSError:  # EIO: nobody has it open
                break
            self.seen += data.decode(errors="replace")
        _, status = os.waitpid(self.pid, 0)
        self.status = os.waitstatus_to_exitcode(status)
        return self.status

    def is_cooked(self) -> bool:
        """Whether it shows what is typed, and takes lines and ^C."""
        flags = termios.tcgetattr(self.fd)[_LOCAL_FLAGS]
        cooked = termios.ECHO | termios.ICANON | termios.ISIG
        return flags & cooked == cooked

    def close(self) -> None:
        os.close(self.fd)
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


@pytest.fixture
def start(overlayfs_py: Path, root: Path, temporary: Path) -> Iterator[Start]:
    started: list[OnTerminal] = []

    def call(steps: str, *options: str, size: tuple[int, int] = (24, 80)) -> OnTerminal:
        argv = [overlayfs_py, "chroot", *options, root, "--", "sh", "-c", steps]
        started.append(OnTerminal(argv, temporary, size))
        return started[-1]

    yield call
    for each in started:
        each.close()
    wait_until(lambda: not list(temporary.iterdir()), "the files to go")


def is_asleep() -> bool:
    return any(argv[0] == "sleep" for argv in processes_naming(A_LONG_TIME).values())


def test_the_command_has_a_terminal_of_its_own(start: Start) -> None:
    steps = (
        "tty; for fd in self/fd/0 1/fd/0 1/fd/1 1/fd/2; do readlink /proc/$fd; done; ls /dev/pts"
    )
    shown = start(steps)
    assert shown.end() == 0

    lines = shown.seen.split("\r\n")
    assert lines[:5] == ["/dev/pts/0"] * 5
    assert lines[5].split() == ["0", "ptmx"]


def test_it_is_the_controlling_terminal(start: Start) -> None:
    shown = start("echo told > /dev/tty")

    assert shown.end() == 0
    assert shown.seen == "told\r\n"


def test_it_has_the_size_of_the_users_and_follows_it(start: Start) -> None:
    steps = "stty size; trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done"
    shown = start(steps, size=(33, 99))
    shown.wait_for("33 99\r\nready")
    shown.resize((40, 100))

    assert shown.end() == 0
    assert "40 100" in shown.seen


def test_what_is_typed_arrives_and_is_shown_once(start: Start) -> None:
    shown = start("echo ready; read line; echo got $line")
    shown.wait_for("ready")
    shown.type("some words\n")

    assert shown.end() == 0
    assert shown.seen == "ready\r\nsome words\r\ngot some words\r\n"


def test_the_end_of_input_arrives(start: Start) -> None:
    shown = start("echo ready; cat; echo over")
    shown.wait_for("ready")
    shown.type("\x04")

    assert shown.end() == 0
    assert shown.seen.endswith("over\r\n")


def test_all_that_was_written_is_shown(start: Start) -> None:
    shown = start("i=0; while test $i -lt 20000; do echo line $i; i=$((i+1)); done")

    assert shown.end() == 0
    assert shown.seen.split("\r\n")[:-1] == [f"line {i}" for i in range(20000)]


def test_the_users_terminal_is_as_it_was_at_the_end(start: Start) -> None:
    shown = start("stty raw -echo; echo ready; read line")
    shown.wait_for("ready")
    assert not shown.is_cooked()
    shown.type("x\n")
    shown.wait_for("ready")

    assert os.waitpid(shown.pid, 0)[1] == 0
    shown.status = 0
    assert shown.is_cooked()


def test_the_users_terminal_is_as_it_was_after_a_kill(start: Start) -> None:
    shown = start(f"echo ready; exec sleep {A_LONG_TIME}")
    shown.wait_for("ready")
    assert not shown.is_cooked()
    os.kill(shown.pid, signal.SIGKILL)
    os.waitpid(shown.pid, 0)
    shown.status = 137

    wait_until(shown.is_cooked, "the terminal to be put back")


def test_a_state_that_somebody_has_set_since_stays(start: Start) -> None:
    shown = start(f"echo ready; exec sleep {A_LONG_TIME}")
    shown.wait_for("ready")
    state = termios.tcgetattr(shown.fd)
    state[_LOCAL_FLAGS] |= termios.ISIG
    termios.tcsetattr(shown.fd, termios.TCSANOW, state)
    os.kill(shown.pid, signal.SIGTERM)

    os.waitpid(shown.pid, 0)
    shown.status = 143
    assert termios.tcgetattr(shown.fd)[_LOCAL_FLAGS] == state[_LOCAL_FLAGS]


def test_stopped_it_leaves_the_terminal_and_goes_on(start: Start) -> None:
    """As with ^Z and fg of the shell around it."""
    shown = start("echo ready; read line; echo got $line")
    shown.wait_for("ready")
    os.kill(shown.pid, signal.SIGTSTP)
    _, status = os.waitpid(shown.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    assert shown.is_cooked()
    os.kill(shown.pid, signal.SIGCONT)
    wait_until(lambda: not shown.is_cooked(), "the terminal to be taken again")
    shown.type("x\n")

    assert shown.end() == 0
    assert "got x" in shown.seen


def test_a_stopped_container_does_nothing(overlayfs_py: Path, root: Path, temporary: Path) -> None:
    """Its processes stop with the one that was told to, and go on with it."""
    steps = "while :; do echo tick; sleep 0.01; done"
    process = subprocess.Popen(
        [overlayfs_py, "chroot", root, "--", "sh", "-c", steps],
        env={"TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "tick\n"
        process.send_signal(signal.SIGTSTP)
        os.waitpid(process.pid, os.WUNTRACED)
        wait_until(lambda: is_quiet(process.stdout.fileno()), "all to stop")  # type: ignore[union-attr]
        process.send_signal(signal.SIGCONT)
        assert process.stdout.readline().endswith("tick\n")
        process.terminate()


def is_quiet(fd: int) -> bool:
    while select.select([fd], [], [], 0.2)[0]:
        os.read(fd, 65536)
        return False
    return True


def test_a_file_gets_what_the_command_writes_as_it_is(
    overlayfs_py: Path, root: Path, temporary: Path, scratch: Path
) -> None:
    """stdin is a terminal, stdout is not: no carriage returns come between."""
    script = f"{overlayfs_py} chroot {root} -- sh -c 'test -t 0 && echo line' > {scratch}/out"
    shown = OnTerminal(["/bin/sh", "-c", script], temporary, (24, 80))

    assert shown.end() == 0
    shown.close()
    assert (scratch / "out").read_bytes() == b"line\n"


def test_stdout_alone_is_no_way_to_the_users_terminal(
    overlayfs_py: Path, root: Path, temporary: Path
) -> None:
    script = f"echo x | {overlayfs_py} chroot {root} -- sh -c 'cat; readlink /proc/self/fd/1'"
    shown = OnTerminal(["/bin/sh", "-c", script], temporary, (24, 80))

    assert shown.end() == 0
    shown.close()
    assert shown.seen.split() == ["x", "/dev/pts/0"]


def test_a_terminal_is_made_where_there_is_none(
    overlayfs_py: Path, root: Path, temporary: Path
) -> None:
    argv = [overlayfs_py, "chroot", "-it", "--rm", root, "--", "sh", "-c", "tty; cat"]
    done = subprocess.run(
        argv, input="x\n", env={"TMPDIR": str(temporary)}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == ["/dev/pts/0", "x", "x"]  # typed, and shown by cat


def test_a_terminal_that_shows_nothing_holds_up_no_signal(start: Start) -> None:
    """As after ^S: what the command writes finds no reader."""
    shown = start(f"echo ready; sleep {A_LONG_TIME} & while :; do echo more; done")
    shown.wait_for("ready")
    wait_until(is_asleep, "the command to run")
    os.kill(shown.pid, signal.SIGTERM)

    assert os.waitstatus_to_exitcode(os.waitpid(shown.pid, 0)[1]) == 143
    shown.status = 143
    assert not is_asleep()


def test_a_job_in_the_background_leaves_the_terminal_alone(
    overlayfs_py: Path, root: Path, temporary: Path
) -> None:
    script = (
        f"set -m; {overlayfs_py} chroot {root} -- sh -c 'echo started; sleep 1; echo done' &"
        "wait $!; stty -a"
    )
    shown = OnTerminal(["/bin/sh", "-c", script], temporary, (24, 80))

    assert shown.end() == 0
    shown.close()
    assert "started\ndone\n" in shown.seen.replace("\r", "")
    assert " echo " in shown.seen
