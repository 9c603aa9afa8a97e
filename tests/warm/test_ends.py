"""Signals, kills and ends: of the client, of the command, of the warm process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.warm.conftest import Warm


class Waiting:
    """A command that waits, forked from the warm process, and a process that it has left behind."""

    def __init__(self, warm: Warm, file: Path) -> None:
        before = warm.commands
        self.client = warm.popen("probe", "wait", file)
        assert self.client.stdout.readline() == b"waits\n"
        self.command, self.left = json.loads(file.read_text())
        assert warm.commands == before + 1
        assert self.command != self.client.pid

    def heard(self) -> bytes:
        line: bytes = self.client.stdout.readline()
        return line

    def close(self) -> None:
        self.client.kill()
        self.client.wait()
        for stream in (self.client.stdout, self.client.stderr):
            stream.close()
        if is_alive(self.left):
            os.kill(self.left, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def waiting(warm: Warm, tmp_path: Path) -> Iterator[Waiting]:
    started = Waiting(warm, tmp_path / "pids")
    yield started
    started.close()


def test_signals_reach_the_command(waiting: Waiting) -> None:
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGTERM):
        waiting.client.send_signal(number)
        said = waiting.heard()
        assert said == f"{number.name}\n".encode(), (
            waiting.client.wait(5),
            waiting.client.stderr.read(),
        )

    assert waiting.client.wait(timeout=30) == 9


def test_what_it_does_not_catch_ends_it_and_its_client(waiting: Waiting) -> None:
    waiting.client.send_signal(signal.SIGUSR2)

    assert waiting.client.wait(timeout=30) == -signal.SIGUSR2
    assert not is_alive(waiting.command)


def test_a_killed_client_takes_the_command_with_it(waiting: Waiting) -> None:
    """And nothing else: what has left the command's session goes on, as it always did."""
    waiting.client.kill()

    wait_until(lambda: not is_alive(waiting.command), "the command to end")
    assert is_alive(waiting.left)


def test_a_killed_command_ends_its_client_by_the_same_signal(waiting: Waiting) -> None:
    os.kill(waiting.command, signal.SIGKILL)

    assert waiting.client.wait(timeout=30) == -signal.SIGKILL


def test_a_stopped_command_stops_its_client(waiting: Waiting) -> None:
    waiting.client.send_signal(signal.SIGTSTP)

    _, status = os.waitpid(waiting.client.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    waiting.client.send_signal(signal.SIGCONT)
    assert waiting.heard() == b"SIGCONT\n"


def test_with_the_warm_process_its_commands_end(anew: Warm, tmp_path: Path) -> None:
    anew.start()
    started = Waiting(anew, tmp_path / "pids")

    os.kill(anew.pid, signal.SIGKILL)

    _, err = started.client.communicate(timeout=30)
    assert (started.client.returncode, err) == (
        125,
        b"overlayfs-py: the warm process was killed, and this command with it\n",
    )
    assert not is_alive(started.command)
    started.close()
    # What it has left is no obstacle, neither to commands nor to the next.
    assert anew.socket.exists()
    assert anew("probe", "end", 3)[0] == 3
    anew.start()
    assert anew.has_run(lambda: anew("probe", "end", 3))


def test_one_that_is_stopped_takes_no_command_and_ends_none(anew: Warm, tmp_path: Path) -> None:
    anew.start()
    started = Waiting(anew, tmp_path / "pids")

    assert anew("warm", "stop") == (0, b"", b"It ends with the commands that run: 1.\n")

    assert not anew.is_there()
    assert anew("probe", "end", 3)[0] == 3
    assert is_alive(started.command)
    started.client.send_signal(signal.SIGTERM)
    assert started.client.wait(timeout=30) == 9
    started.close()


def test_it_ends_by_itself_but_not_while_a_command_runs(anew: Warm) -> None:
    anew.start("--idle", "2s")
    with anew.popen("probe", "copy", stdin=subprocess.PIPE) as process:
        os.write(process.stdin.fileno(), b"a")
        assert process.stdout.read(1) == b"a"
        pid = anew.pid
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=2.1)
        process.stdin.close()
        assert process.wait(timeout=30) == 0

    wait_until(lambda: not is_alive(pid), "it to end")
    assert not anew.is_there()


def test_one_is_enough(warm: Warm) -> None:
    pid = warm.pid

    assert warm("warm", "start") == (0, b"", b"It is there already.\n")
    assert warm.pid == pid


def test_without_one_nothing_is_there(anew: Warm) -> None:
    assert anew("warm", "status") == (1, b"There is none.\n", b"")
    assert anew("warm", "status", "--json") == (1, b'{"running": false}\n', b"")
    assert anew("warm", "stop") == (0, b"", b"There is none.\n")
    assert anew("probe", "end", 3)[0] == 3
    assert list(anew.runtime.iterdir()) == []


@pytest.mark.parametrize("idle", ["0s", "ten", "-1s"])
def test_a_time_that_is_none(anew: Warm, idle: str) -> None:
    status, _, err = anew("warm", "start", "--idle", idle)

    assert status == 2
    assert err.startswith(b"overlayfs-py: ")
    assert b"--idle" in err
    assert len(err.splitlines()) == 1
