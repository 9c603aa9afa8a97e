"""The verifier of waits measures; how long they may be is not for a test to say."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

_SCRIPT = Path(__file__).parents[2] / "scripts/verify-waits"


def test_each_command_of_a_scene_is_measured() -> None:
    command = [_SCRIPT, "--names", "300", "--driver", "direct", "listing"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["command"] for line in lines] == [
        *("idle", "list the names", "ls", "ls -l", "ls -l, again"),
        *("chown -R", "rename it", "rm -r"),
    ]
    assert all(line["calls"] for line in lines if line["took_s"] > 1), done.stderr
