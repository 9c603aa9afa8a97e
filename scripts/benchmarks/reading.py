"""Workloads that change nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from scripts.benchmarks.processes import count_bytes, count_lines, require
from scripts.benchmarks.stacks import LARGE_FILE
from scripts.benchmarks.workload import Family

if TYPE_CHECKING:
    from scripts.benchmarks.session import Session
    from scripts.benchmarks.workload import Scale

FAMILY = Family()
_SMALL = 16 << 10
_PASSES = 5
_MIB = 1 << 20


def spread(names: list[str], count: int) -> list[str]:
    """Return `count` of the names, evenly from all of the list."""
    require(len(names) >= count, f"there are only {len(names)} files to choose {count} from")
    return [names[index * len(names) // count] for index in range(count)]


def _large(scale: Scale) -> str:
    return f"large-{scale.large_mib}"


@FAMILY.add("open", "open+close, warm")
def open_and_close(session: Session) -> None:
    # os.open alone: open() would also fstat, which is another message.
    paths = [str(session.root / name) for name in spread(session.stack.files, session.scale.files)]

    def open_all() -> int:
        for path in paths:
            os.close(os.open(path, os.O_RDONLY))
        return len(paths)

    open_all()
    with session.timed("open+close, warm", _PASSES * len(paths)):
        opened = sum(open_all() for _ in range(_PASSES))
    require(opened == _PASSES * len(paths), f"opened only {opened}")


@FAMILY.add("find", "find -printf %s, first", "find -printf %s, again")
def find(session: Session) -> None:
    expected = len(session.stack.entries) + 1
    for case in ("find -printf %s, first", "find -printf %s, again"):
        with session.timed(case, expected):
            seen = count_lines(["find", session.root, "-printf", "%s\n"])
        require(seen == expected, f"find saw {seen} of {expected} entries")


@FAMILY.add("tar", "tar c, first", "tar c, again")
def tar(session: Session) -> None:
    least = sum(map(session.stack.size, session.stack.files))
    for case in ("tar c, first", "tar c, again"):
        with session.timed(case, len(session.stack.entries) + 1):
            written = count_bytes(["tar", "-C", session.root, "-c", "."])
        require(written > least, f"tar wrote {written} bytes, the files alone have {least}")


@FAMILY.add("reread", "re-read small files")
def reread(session: Session) -> None:
    small = [name for name in session.stack.files if session.stack.size(name) <= _SMALL]
    chosen = spread(small, session.scale.files)
    paths = [str(session.root / name) for name in chosen]
    expected = sum(map(session.stack.size, chosen))
    _read_all(paths)
    with session.timed("re-read small files", len(paths)):
        got = _read_all(paths)
    require(got == expected, f"read {got} of {expected} bytes")


@FAMILY.add("read", "read, first", "read, again", stack=_large)
def read(session: Session) -> None:
    for case in ("read, first", "read, again"):
        _read_once(session, case)


READ_ONLY_CASES = ("read-only mount: read, first", "read-only mount: read, again")


@FAMILY.add("read-only", *READ_ONLY_CASES, stack=_large, is_read_only=True)
def read_without_upper(session: Session) -> None:
    """The same where no write can follow: only there may a layer's file be passed through."""
    for case in READ_ONLY_CASES:
        _read_once(session, case)


def _read_once(session: Session, case: str) -> None:
    expected = session.scale.large_mib * _MIB
    with session.timed(case, session.scale.large_mib):
        got = read_whole(str(session.root / LARGE_FILE))
    require(got == expected, f"read {got} of {expected} bytes")


def _read_all(paths: list[str]) -> int:
    total = 0
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        total += len(os.read(file, _SMALL + 1))
        os.close(file)
    return total


def read_whole(path: str) -> int:
    """Read a file from its beginning to its end; returns how many bytes it had."""
    buffer = bytearray(_MIB)
    total = 0
    with open(path, "rb", buffering=0) as file:
        while got := file.readinto(buffer):
            total += got
    return total
