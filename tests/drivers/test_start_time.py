"""What takes long to load is not loaded before the mount answers."""

from __future__ import annotations

import subprocess
import sys

_NEEDED_TO_ANSWER = (
    "overlayfs_py.cli.main",
    "overlayfs_py.cli.plain_mount",
    "overlayfs_py.drivers.service",
    "overlayfs_py.drivers.direct_driver",
)
# dataclasses brings inspect and ast along: 8 of 54 ms until ls(1) returns.
_LATER = {"dataclasses", "inspect", "click", "trio", "pyfuse3", "subprocess", "asyncio", "json"}


def test_the_first_answer_waits_for_no_large_module() -> None:
    program = f"import sys, {', '.join(_NEEDED_TO_ANSWER)}; print(*sys.modules)"

    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout.split()

    assert set(_NEEDED_TO_ANSWER) <= set(loaded)
    assert _LATER.isdisjoint(loaded)
