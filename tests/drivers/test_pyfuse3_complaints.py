"""What the kernel gives up when a mount goes away is no complaint; whatever else fails is one."""

from __future__ import annotations

import errno
import logging
import os
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.drivers import pyfuse3_complaints
from overlayfs_py.syscalls import mounts
from tests.drivers.lost_race_runner import print_error
from tests.drivers.serving import Stack, serving, wait_until, with_driver

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO


@pytest.fixture
def stack(scratch: Path) -> Stack:
    with_driver.set("pyfuse3")
    return Stack(scratch)


def test_a_release_that_the_unmounting_gives_up_is_no_complaint(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    (stack.lower / "file").write_text("read, and closed")
    fifo = stack.base / "go"
    os.mkfifo(fifo)
    monkeypatch.setenv("GO", os.fspath(fifo))

    with serving(stack.spec, stack.plan, runner="late_release_runner") as daemon:
        (stack.target / "file").read_text()
        with _writer(fifo) as go:
            # A closed file does not keep the mount busy, though its RELEASE is unanswered.
            mounts.umount(os.fsencode(stack.target), 0)
            go.write(b".")
        status = daemon.wait()

    assert status == 0


def test_a_request_that_the_unmounting_takes_from_under_a_read_is_no_complaint(
    stack: Stack,
) -> None:
    """A race that only the kernel can stage; libfuse and pyfuse3 then say and do the same."""
    with serving(stack.spec, stack.plan, runner="lost_race_runner") as daemon:
        mounts.umount(os.fsencode(stack.target), 0)
        status = daemon.wait()

    assert status == 0


def _writer(fifo: Path) -> BinaryIO:
    """Open a FIFO once there is a reader."""
    opened: list[int] = []

    def has_opened() -> bool:
        try:
            opened.append(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        return bool(opened)

    assert wait_until(has_opened)
    return os.fdopen(opened[0], "wb", buffering=0)


@pytest.mark.parametrize("request_name", ["lookup", "release", "write_buf"])
def test_what_is_given_up_is_told_from_what_goes_wrong(
    request_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    log = logging.getLogger("pyfuse3")
    message = f"fuse_{request_name}(): fuse_reply_* failed with %s"

    with pyfuse3_complaints.of_what_matters():
        log.error(message, os.strerror(errno.ENOENT))
        log.error(message, os.strerror(errno.EINVAL))
        log.error("fuse_setattr(): %s", os.strerror(errno.ENOENT))
    log.error(message, os.strerror(errno.ENOENT))

    said = [
        record.getMessage().removeprefix(f"fuse_{request_name}(): ") for record in caplog.records
    ]
    assert said == [
        "fuse_reply_* failed with Invalid argument",
        "fuse_setattr(): No such file or directory",
        "fuse_reply_* failed with No such file or directory",
    ]


def test_what_libfuse_prints_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with pyfuse3_complaints.of_what_matters():
        print_error("fuse: reading device", errno.ECONNABORTED)
        print_error("fuse: writing device", errno.EINVAL)
        for _ in range(10_000):  # more than there is room for
            print_error("fuse: reading device", errno.ECONNABORTED)

    assert caplog.messages[0] == "libfuse: fuse: writing device: Invalid argument"


def test_what_c_prints_goes_where_it_went_before(capfd: pytest.CaptureFixture[str]) -> None:
    with pyfuse3_complaints.of_what_matters():
        pass
    print_error("later", errno.EINVAL)

    assert capfd.readouterr().err == "later: Invalid argument\n"
