from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.drivers.errnos import BugLog, errno_of

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (OSError(errno.ENOSPC, "full"), errno.ENOSPC),
        (FileNotFoundError(errno.ENOENT, "no"), errno.ENOENT),
        (OSError(errno.ESTALE, "stale"), errno.ESTALE),
        (OSError(errno.ENOSYS, "the kernel would never ask again"), errno.EOPNOTSUPP),
        (OSError("without a number"), errno.EIO),
        (OSError(0, "success is no error"), errno.EIO),
        (OSError(-errno.ENOENT, "negative"), errno.EIO),
        (OSError(511, "the last that the kernel takes"), 511),
        (OSError(524, "ENOTSUPP, the kernel's own, which NFS lets out"), errno.EIO),
        (OSError(4096, "beyond the kernel's MAX_ERRNO"), errno.EIO),
        (ValueError("a bug"), errno.EIO),
        (MemoryError(), errno.EIO),
    ],
    ids=repr,
)
def test_errno_of(error: Exception, number: int) -> None:
    assert errno_of(error) == number


def run_into(bug: Callable[[], object], bugs: BugLog) -> None:
    try:
        bug()
    except LookupError as error:
        bugs.note(error, "getattr")


def misses_a_key() -> object:
    nothing: dict[str, object] = {}
    return nothing["forgotten"]


def misses_an_index() -> object:
    nothing: list[object] = []
    return nothing[0]


def test_a_bug_is_logged_once_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    bugs = BugLog()

    for _ in range(3):
        run_into(misses_a_key, bugs)

    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert "getattr" in record.message
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


def test_another_bug_is_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    bugs = BugLog()

    run_into(misses_a_key, bugs)
    run_into(misses_an_index, bugs)

    assert len(caplog.records) == 2


def test_an_error_of_the_host_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    BugLog().note(OSError(errno.ENOSPC, "full"), "write")

    assert not caplog.records
