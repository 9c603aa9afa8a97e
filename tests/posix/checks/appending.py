"""O_APPEND."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from tests.posix.descriptors import create, opened
from tests.posix.prepared import TEXT
from tests.posix.processes import together
from tests.posix.registry import check

if TYPE_CHECKING:
    from pathlib import Path

_WRITERS = 3
_RECORDS = 40


@check()
def an_append_goes_to_the_end_wherever_the_offset_is(root: Path) -> None:
    with opened(root / "file", os.O_RDWR | os.O_APPEND) as descriptor:
        os.lseek(descriptor, 2, os.SEEK_SET)
        os.write(descriptor, b"end")
        assert os.lseek(descriptor, 0, os.SEEK_CUR) == len(TEXT) + 3
    assert (root / "file").read_bytes() == TEXT + b"end"


@check()
def an_append_goes_after_what_another_wrote(root: Path) -> None:
    with (
        opened(root / "file", os.O_WRONLY | os.O_APPEND) as one,
        opened(root / "file", os.O_WRONLY | os.O_APPEND) as other,
    ):
        os.write(one, b"1")
        os.write(other, b"22")
        os.write(one, b"333")
    assert (root / "file").read_bytes() == TEXT + b"122333"


@check()
def an_append_after_truncation_starts_anew(root: Path) -> None:
    with opened(root / "file", os.O_WRONLY | os.O_APPEND) as descriptor:
        os.write(descriptor, b"lost")
        os.truncate(root / "file", 0)
        os.write(descriptor, b"kept")
    assert (root / "file").read_bytes() == b"kept"


def _append(path: Path, writer: int) -> None:
    with opened(path, os.O_WRONLY | os.O_APPEND) as descriptor:
        for number in range(_RECORDS):
            os.write(descriptor, b"%d %02d\n" % (writer, number))


def _demand_all_records(text: bytes) -> None:
    lines = text.splitlines()
    assert len(lines) == _WRITERS * _RECORDS
    for writer in range(_WRITERS):
        own = [line for line in lines if line.startswith(b"%d " % writer)]
        assert own == [b"%d %02d" % (writer, number) for number in range(_RECORDS)]


@check()
def appending_processes_lose_no_record(root: Path) -> None:
    create(root / "log")
    together([partial(_append, root / "log", writer) for writer in range(_WRITERS)])
    _demand_all_records((root / "log").read_bytes())


@check()
def processes_that_append_first_at_the_same_time_lose_no_record(root: Path) -> None:
    together([partial(_append, root / "big", writer) for writer in range(_WRITERS)])
    _demand_all_records((root / "big").read_bytes()[1 << 18 :])
