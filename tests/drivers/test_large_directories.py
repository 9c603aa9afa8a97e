"""Large directories through the kernel, whose listing and removal take many steps."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from overlayfs_py.drivers.cookies import PAGE_SPREAD
from tests.drivers.metering import metering
from tests.drivers.serving import Stack, serving, with_driver

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


def test_a_large_directory_is_replaced(stack: Stack) -> None:
    os.mkdir(stack.upper / "emptied")
    os.mknod(stack.upper / "emptied/0", stat.S_IFCHR)
    for number in range(1, COUNT):
        os.link(stack.upper / "emptied/0", stack.upper / f"emptied/{number}")
    (stack.lower / "new/in").mkdir(parents=True)
    with serving(stack.spec, stack.plan) as daemon:
        os.rename(daemon.target / "new", daemon.target / "emptied")
        assert os.listdir(daemon.target) == ["emptied"]
        assert os.listdir(daemon.target / "emptied") == ["in"]


def test_directories_of_many_layers_are_listed(stack: Stack) -> None:
    """Few in a page: each takes as long as its layers are many, and others wait for the page."""
    layers = [stack.base / f"layer{number}" for number in range(64)]
    for layer in layers:
        for name in range(16):
            (layer / f"d{name:02}").mkdir(parents=True)
    spec = stack.spec._replace(lower=tuple(map(os.fsencode, layers)))
    with serving(spec, stack.plan) as daemon:
        if with_driver.get() == "pyfuse3":
            names = os.listdir(daemon.target)
        else:
            with metering(daemon) as spent:
                names = os.listdir(daemon.target)
            assert spent["readdirplus"] == 16 * len(layers) // PAGE_SPREAD + 1

    assert sorted(names) == [f"d{name:02}" for name in range(16)]
