from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from overlayfs_py.containers import state
from overlayfs_py.containers.state import State, Status
from overlayfs_py.store.containers import LOCK

if TYPE_CHECKING:
    from pathlib import Path

RUNNING = State(status=Status.RUNNING, pid=7, started_ns=5, ports=("0.0.0.0:1->1/tcp",))


def test_one_that_was_never_started_is_created(tmp_path: Path) -> None:
    assert state.read(tmp_path) == State()
    assert State().status is Status.CREATED


def test_what_a_killed_monitor_left_is_exited(tmp_path: Path) -> None:
    fd = os.open(tmp_path / LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)
    state.write(tmp_path, RUNNING)
    assert state.read(tmp_path) == RUNNING

    os.close(fd)

    found = state.read(tmp_path)
    assert (found.status, found.exit_code, found.pid) == (Status.EXITED, 137, 0)
    assert (found.started_ns, found.ports) == (5, ())
    assert found.finished_ns > 0


def test_a_file_that_a_power_cut_emptied_is_exited(tmp_path: Path) -> None:
    (tmp_path / state.FILE).write_bytes(b"")

    assert state.read(tmp_path).status is Status.EXITED
