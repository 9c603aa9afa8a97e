"""A bug of ours costs one request its answer, not everybody the mount."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.drivers.serving import Stack, start, stop


def test_a_bug_is_eio_and_the_mount_lives(stack: Stack) -> None:
    daemon = start(stack.spec, stack.plan, runner="faulty_runner")
    file = stack.target / "file"
    try:
        file.touch()
        for _ in range(3):
            with pytest.raises(OSError, match="Input/output") as caught:
                os.getxattr(file, "user.bug")
        file.write_text("lives")
        alive = file.read_text()
    finally:
        words = stop(daemon)

    assert caught.value.errno == errno.EIO
    assert alive == "lives"
    assert words.count("ZeroDivisionError: planted\n") == 1
    assert "bug in getxattr, answered with EIO" in words


@pytest.mark.alone  # it drops all caches
def test_a_bug_in_forget_ends_nothing(stack: Stack) -> None:
    for number in range(10):
        (stack.lower / f"file-{number}").touch()
    daemon = start(stack.spec, stack.plan, runner="faulty_runner")
    try:
        os.listdir(stack.target)
        Path("/proc/sys/vm/drop_caches").write_text("2")  # the kernel forgets what it can
        alive = sorted(os.listdir(stack.target))
    finally:
        words = stop(daemon)

    assert len(alive) == 10
    assert words.count("ZeroDivisionError: planted in FORGET") == 1


def test_a_failing_on_ready_ends_the_mount(stack: Stack) -> None:
    with pytest.raises(AssertionError, match="planted before ready"):
        start(stack.spec, stack.plan, runner="never_ready_runner")

    assert not os.path.ismount(stack.target)
