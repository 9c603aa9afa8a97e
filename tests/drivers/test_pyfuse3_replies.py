"""A reply that nobody waits for is no complaint; any other that fails is one."""

from __future__ import annotations

import errno
import logging
import os
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.drivers.pyfuse3_replies import unwanted_replies_unreported
from overlayfs_py.syscalls import mounts
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

    with unwanted_replies_unreported():
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
