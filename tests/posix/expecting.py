"""What a check says about an outcome."""

from __future__ import annotations

import errno
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DEADLINE_S = 10.0
_COARSE = 5  # CLOCK_REALTIME_COARSE (linux/time.h), which `time` does not name


@contextmanager
def refused(*numbers: int) -> Iterator[None]:
    """Demand that the block raises OSError with one of the errnos."""
    wanted = "/".join(errno.errorcode[number] for number in numbers)
    try:
        yield
    except OSError as error:
        got = errno.errorcode[error.errno or 0]
        if error.errno not in numbers:
            raise AssertionError(f"refused with {got} instead of {wanted}") from error
    else:
        raise AssertionError(f"not refused with {wanted}")


@contextmanager
def unchanged(path: Path, *fields: str) -> Iterator[None]:
    """Demand that the block leaves these `stat` fields of `path` as they are."""
    before = os.lstat(path)
    yield
    after = os.lstat(path)
    for field in fields:
        assert getattr(after, field) == getattr(before, field), field


@contextmanager
def advanced(path: Path, *fields: str) -> Iterator[None]:
    """Demand that the block moves these times of `path` (`st_mtime_ns`, ...) forward."""
    before = os.lstat(path)
    wait_for_tick()
    yield
    after = os.lstat(path)
    for field in fields:
        assert getattr(after, field) > getattr(before, field), field


def wait_for_tick() -> None:
    """Return when whatever is stamped next is stamped later than now (a few milliseconds).

    The coarse clock that filesystems stamp with lags behind the fine one, which they take where
    somebody has looked at a stamp (fs/inode.c, inode_set_ctime_current): one tick is not enough.
    """
    begun = time.time_ns()
    deadline = time.monotonic() + _DEADLINE_S
    while time.clock_gettime_ns(_COARSE) <= begun:
        assert time.monotonic() < deadline
        time.sleep(0.0005)


def names(directory: Path) -> set[str]:
    """The listing, each name checked to be there once."""
    listed = os.listdir(directory)
    assert len(listed) == len(set(listed)), f"a name is listed twice: {sorted(listed)}"
    return set(listed)


def is_absent(path: Path) -> bool:
    """Say whether the name is neither found nor listed."""
    return not os.path.lexists(path) and path.name not in names(path.parent)


def mode_of(path: Path) -> int:
    """Permission, set-id and sticky bits."""
    return os.lstat(path).st_mode & 0o7777
