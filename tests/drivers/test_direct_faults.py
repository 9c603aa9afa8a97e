"""What is wrong with one request or one file costs that one alone."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.syscalls import mounts
from tests.drivers.serving import Stack, serving, start, stop, with_driver

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def stack(scratch: Path) -> Stack:
    with_driver.set("direct")
    return Stack(scratch)


def test_an_answer_that_the_kernel_refuses_is_eio_and_the_mount_lives(stack: Stack) -> None:
    (stack.lower / "answers-too-much").symlink_to("x")
    (stack.lower / "other").write_text("other")
    daemon = start(stack.spec, stack.plan, runner="direct_faulty_runner")
    try:
        with pytest.raises(OSError, match="Input/output") as caught:
            (stack.target / "answers-too-much").readlink()
        alive = (stack.target / "other").read_text()
    finally:
        words = stop(daemon)

    assert caught.value.errno == errno.EIO
    assert alive == "other"
    assert words.count("bug in readlink, answered with EIO") == 1


def test_an_errno_that_the_kernel_takes_from_nobody_is_eio(stack: Stack) -> None:
    """fs/fuse/dev.c, fuse_dev_do_write: an answer with 512 or more is none, and its asker waits."""
    with (
        serving(stack.spec, stack.plan, runner="direct_faulty_runner"),
        pytest.raises(OSError, match="Input/output") as caught,
    ):
        os.getxattr(stack.target, "user.enotsupp")

    assert caught.value.errno == errno.EIO


def test_one_that_cannot_be_read_hides_no_others(stack: Stack) -> None:
    names = ["first", "unreadable", "last"]
    for name in names:
        (stack.lower / name).touch()

    with serving(stack.spec, stack.plan, runner="direct_faulty_runner"):
        listed = os.listdir(stack.target)
        with pytest.raises(OSError, match="Input/output"):
            (stack.target / "unreadable").stat()

    assert sorted(listed) == sorted(names)


def test_an_aborted_connection_ends_the_daemon(stack: Stack) -> None:
    """What an administrator does about a mount that hangs: everybody is let go, then it is gone."""
    control = stack.base / "control"
    control.mkdir()
    with serving(stack.spec, stack.plan) as daemon:
        connection = os.minor(stack.target.stat().st_dev)
        mounts.mount(b"fusectl", os.fsencode(control), b"fusectl", 0, b"")
        try:
            (control / str(connection) / "abort").write_text("1")
        finally:
            mounts.umount(os.fsencode(control), mounts.MNT_DETACH)
        status = daemon.wait()
        mounted = daemon.is_mounted

    assert status == 0
    assert not mounted
