"""A command that is forked from the warm process finds what it would find, and ends as it would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.warm.conftest import Warm


def _states(warm: Warm, *words: object, **more: object) -> tuple[dict[str, object], ...]:
    environment = more.pop("environment", {})
    found = []
    for base in (warm.cold, warm.environment):
        status, out, err = warm(
            "probe", "state", *words, environment={**base, **environment}, **more
        )
        assert status == 0, err
        state = json.loads(out)
        state["environ"] = [pair for pair in state["environ"] if pair[0] != "XDG_RUNTIME_DIR"]
        found.append(state)
    return tuple(found)


def test_a_command_finds_what_it_would_find(warm: Warm, tmp_path: Path) -> None:
    before = warm.commands
    (tmp_path / "input").write_bytes(b"typed")
    words = ["--a", "", "two words", b"\xff\xfe", "ü", "-" * 2000]
    environment = {"ODD": "\udcff=\n", "EMPTY": "", "A": "1", "HOME": "/nowhere", "PROBED": "twice"}
    with (tmp_path / "input").open("rb") as file, (tmp_path / "output").open("ab") as errors:
        file.seek(2)
        cold, hot = _states(
            warm,
            *(os.fsdecode(word) for word in words),
            environment=environment,
            stdin=file,
            stderr=errors,
            cwd=tmp_path,
            umask=0o0135,
        )

    assert hot == cold
    assert cold["status"]["Umask"] == "0135"
    assert cold["libc's"] == "b'twice'"
    assert warm.commands == before + 1


def test_so_does_one_of_another_group(warm: Warm) -> None:
    """The session's first process or not: nothing of a command's asks."""
    cold, hot = _states(warm, start_new_session=False, process_group=0)

    assert hot == cold


def test_no_two_commands_have_the_same_random_numbers(warm: Warm) -> None:
    numbers = {part for _ in range(3) for part in warm("probe", "random")[1].split()}

    assert len(numbers) == 6


@pytest.mark.parametrize("code", [0, 1, 125, 130, 255])
def test_an_exit_code_is_the_commands(warm: Warm, code: int) -> None:
    assert warm("probe", "end", code) == (code, b"ends\n", b"")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGABRT, 40])
def test_so_is_a_death_by_a_signal(warm: Warm, number: int, tmp_path: Path) -> None:
    assert warm("probe", "die", int(number), cwd=tmp_path)[0] == -number


def test_an_error_is_the_commands(warm: Warm) -> None:
    colds = warm("nosuch", environment=warm.cold)

    assert warm("nosuch") == colds
    assert colds[0] == 2


def test_stdin_is_read_to_its_end(warm: Warm) -> None:
    process = warm.popen("probe", "copy", stdin=subprocess.PIPE)
    data = os.urandom(1 << 20)

    assert process.communicate(data, timeout=30)[0] == data


@pytest.mark.parametrize("kind", ["cold", "environment"])
def test_output_to_a_pipe_that_closes(warm: Warm, kind: str) -> None:
    with warm.popen("probe", "flood", environment=getattr(warm, kind)) as process:
        assert process.stderr.readline() == b"begins\n"
        process.stdout.read(1 << 20)
        process.stdout.close()

        assert process.stderr.read().splitlines()[-1] == b"BrokenPipeError: [Errno 32] Broken pipe"
        assert process.wait(timeout=30) == 1


def test_closed_streams_are_seen_to_close(warm: Warm) -> None:
    """Who writes to a command sees it close, though its client lives: both are asked by the kernel.

    So does who reads what it writes.
    """
    with warm.popen("probe", "close", stdin=subprocess.PIPE) as process:
        assert process.stdout.read() == b"closes\n"
        with pytest.raises(BrokenPipeError):
            os.write(process.stdin.fileno(), b"typed")
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == -signal.SIGTERM


def test_fifty_at_once(warm: Warm) -> None:
    before = warm.commands
    processes = [warm.popen("probe", "end", at) for at in range(50)]

    found = [(each.communicate(timeout=60), each.returncode) for each in processes]
    assert found == [((b"ends\n", b""), at) for at in range(50)]
    assert warm.commands > before  # those that waited for long have done it themselves
    assert warm.status()["running"] == 0


def test_no_descriptor_stays_in_the_process(warm: Warm) -> None:
    directory = f"/proc/{warm.pid}/fd"
    before = len(os.listdir(directory))
    warm("probe", "end", 0)
    warm("probe", "end", 0, before=("nice",))

    assert len(os.listdir(directory)) == before
