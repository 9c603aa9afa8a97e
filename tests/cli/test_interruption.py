"""A signal that ends a command leaves nothing of its output."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.system.processes import run, wait_until

if TYPE_CHECKING:
    from pathlib import Path

_SIZE = 8 << 30  # of zeros: takes longer than the test


@pytest.fixture
def pack(overlayfs_py: Path, tmp_path: Path) -> Path:
    """A pack whose tar takes long to write."""
    (tmp_path / "tree").mkdir()
    with (tmp_path / "tree/zeros").open("wb") as file:
        file.truncate(_SIZE)
    run([overlayfs_py, "layer", "pack", tmp_path / "tree", "-o", tmp_path / "pack"])
    return tmp_path / "pack"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("what", ["unpack", "pack"])
def test_nothing_is_left_of_what_was_written(
    overlayfs_py: Path, pack: Path, tmp_path: Path, number: signal.Signals, what: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    command: list[object] = ["layer", "unpack", "--tar", pack, "-o", out / "tar"]
    if what == "pack":
        command = ["layer", "pack", "-", "-o", out / "pack"]
    tar = subprocess.Popen(["tar", "-C", tmp_path, "-c", "tree"], stdout=subprocess.PIPE)
    with tar, subprocess.Popen([overlayfs_py, *map(str, command)], stdin=tar.stdout) as process:
        wait_until(lambda: os.listdir(out) != [], "something to be written")
        process.send_signal(number)

        assert process.wait(20) == 128 + number
        tar.kill()
    assert list(out.iterdir()) == []


def test_a_signal_that_the_caller_ignores_is_ignored(
    overlayfs_py: Path, pack: Path, tmp_path: Path
) -> None:
    """As nohup(1) has it."""
    out = tmp_path / "out"
    out.mkdir()
    argv = [overlayfs_py, "layer", "unpack", "--tar", pack, "-o", out / "tar"]
    script = "trap '' HUP; exec \"$@\""
    with subprocess.Popen(["sh", "-c", script, "sh", *map(str, argv)]) as process:
        wait_until(lambda: os.listdir(out) != [], "something to be written")
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)

        assert process.wait(20) == 128 + signal.SIGTERM
