"""A daemon that is asked by SIGUSR1 says what its mount has cost so far."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.drivers.serving import start, stop

if TYPE_CHECKING:
    from tests.drivers.serving import Daemon, Stack


def _reported(daemon: Daemon) -> dict[str, Any]:
    """Ask a daemon for its report."""
    assert daemon.process.stderr is not None
    daemon.signal(signal.SIGUSR1)
    line = daemon.process.stderr.readline().decode()
    return json.loads(line[line.index("{") :])


@pytest.mark.alone  # a kernel that is short of memory forgets, and asks again
@pytest.mark.parametrize("stack", ["direct"], indirect=True)
def test_sigusr1_makes_the_daemon_report_its_messages_and_nodes(stack: Stack) -> None:
    (stack.lower / "file").touch()
    daemon = start(stack.spec, stack.plan)
    try:
        before = _reported(daemon)
        os.stat(stack.target / "file")
        after = _reported(daemon)
    finally:
        words = stop(daemon)

    # GETATTR is of the root, whose mode the kernel checks before it looks a name up.
    assert after["messages"] == before["messages"] | {"getattr": 1, "lookup": 1}
    assert (before["nodes"], after["nodes"]) == (1, 2)
    assert words == ""
