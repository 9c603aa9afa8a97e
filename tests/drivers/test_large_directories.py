"""Large directories through the kernel, whose listing and removal take many steps."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from tests.drivers.serving import Stack, serving

COUNT = 14_000  # a directory of 256 KiB on any filesystem


def test_a_large_directory_is_listed_and_removed(stack: Stack) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        spec = stack.spec._replace(
            lower=(os.fsencode(f"{memory}/a"), os.fsencode(f"{memory}/b")),
            upper=os.fsencode(f"{memory}/u"),
            work=os.fsencode(f"{memory}/w"),
        )
        for name in ("a/d", "b/d", "u/emptied", "w", "b/emptied"):
            Path(memory, name).mkdir(parents=True)
        os.mknod(f"{memory}/u/whiteout", stat.S_IFCHR)
        for number in range(COUNT):
            Path(memory, f"a/d/f{number}").touch()
            Path(memory, f"b/d/g{number}").touch()
            Path(memory, f"b/emptied/{number}").touch()
            os.link(f"{memory}/u/whiteout", f"{memory}/u/emptied/{number}")
        with serving(spec, stack.plan) as daemon:
            names = os.listdir(daemon.target / "d")
            again = {entry.name for entry in os.scandir(daemon.target / "d")}
            empty = os.listdir(daemon.target / "emptied")
            (daemon.target / "emptied").rmdir()
            left = os.listdir(daemon.target)

    expected = {f"{prefix}{number}" for prefix in "fg" for number in range(COUNT)}
    assert len(names) == len(expected)
    assert set(names) == expected == again
    assert empty == []
    assert left == ["d"]
