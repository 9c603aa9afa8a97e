"""`mount -d` says what was asked and answered; ^C at a terminal ends a mount in the foreground."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.cli.terminal import Terminal
from tests.system.mount_table import mounted_at
from tests.system.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def target(scratch: Path) -> Path:
    for name in ("layer", "merged"):
        (scratch / name).mkdir()
    (scratch / "layer/file").write_text("x\n")
    return scratch / "merged"


@pytest.mark.parametrize("driver", ["direct", "pyfuse3"])
def test_each_request_is_a_line(
    overlayfs_py: Path, scratch: Path, target: Path, driver: str
) -> None:
    log = scratch / "log"
    with log.open("wb") as stderr:
        daemon = subprocess.Popen(
            [overlayfs_py, "mount", "-d", "--driver", driver, "-o", "lowerdir=layer", target],
            cwd=scratch,
            stderr=stderr,
        )
    wait_until(lambda: mounted_at(target) is not None, "the mount to appear")
    assert (target / "file").read_bytes() == b"x\n"
    assert not (target / "no\x1bthing").exists()
    with pytest.raises(OSError, match="No data available"):
        os.getxattr(target / "file", "user.nothing")
    daemon.send_signal(signal.SIGINT)
    assert daemon.wait(20) == 0

    shown = log.read_text()
    caller = rf"uid=0 pid={os.getpid()}"
    for line in (
        rf"lookup \w+=1 name='file' {caller}: (\d+ bytes|done), \d+\.\d\d ms",
        rf"lookup \w+=1 name='no\\x1bthing' {caller}: absent, \d+\.\d\d ms",
        rf"getxattr .*name='user.nothing' {caller}: ENODATA, \d+\.\d\d ms",
        r"read .*: 2 bytes, \d+\.\d\d ms",
    ):
        assert re.search(rf"^overlayfs-py: {line}$", shown, re.MULTILINE), shown
    assert "Traceback" not in shown


def test_interrupt_at_a_terminal_unmounts(overlayfs_py: Path, scratch: Path, target: Path) -> None:
    command = (
        f"trap : INT; {overlayfs_py} mount -f -o lowerdir={scratch}/layer {target}; echo ended $?"
    )
    with Terminal(["sh", "-c", command], {"PATH": "/usr/bin:/bin", "TERM": "xterm"}) as terminal:
        wait_until(lambda: mounted_at(target) is not None, "the mount to appear")
        assert (target / "file").read_bytes() == b"x\n"

        terminal.type("\x03")
        ended = terminal.wait_for(r"ended (\d+)")[1]

    assert ended == "0"
    assert mounted_at(target) is None
