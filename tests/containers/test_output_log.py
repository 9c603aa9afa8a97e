from __future__ import annotations

import json
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.containers import output_log
from overlayfs_py.containers.output_log import (
    LogWriter,
    follow,
    format_time,
    last,
    parse_time,
    read,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / output_log.FILE


def written(path: Path, *pieces: tuple[str, bytes]) -> None:
    log = LogWriter(path)
    for stream, data in pieces:
        log.write(stream, data)
    log.close()


def shown(path: Path) -> list[tuple[str, bytes]]:
    return [(entry.stream, entry.text) for entry in read(path)]


def test_lines_are_kept_as_docker_keeps_them(path: Path) -> None:
    written(path, ("stdout", b"a\nb"), ("stderr", b"warn\n"), ("stdout", b"c\nrest \xff"))

    assert shown(path) == [
        ("stdout", b"a\n"),
        ("stderr", b"warn\n"),
        ("stdout", b"bc\n"),
        ("stdout", b"rest \xff"),
    ]
    assert [sorted(json.loads(row)) for row in path.read_text().splitlines()] == [
        ["log", "stream", "time"]
    ] * 4
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_long_line_is_several_pieces(path: Path) -> None:
    written(path, ("stdout", b"x" * 40000 + b"\n"))

    assert [len(text) for _, text in shown(path)] == [16384, 16384, 7233]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10, 5000])
@pytest.mark.parametrize("end", [b"", b"unfinished"])
def test_the_last_lines_are_tails(path: Path, count: int, end: bytes) -> None:
    text = b"".join(b"line %d %s\n" % (n, b"x" * (n % 300)) for n in range(3000)) + end
    written(path, ("stdout", text))
    expected = subprocess.run(
        ["tail", "-n", str(count)], input=text, capture_output=True, check=True
    ).stdout

    assert b"".join(entry.text for entry in last(path, count)) == expected


def test_following_gives_all_that_is_written_until_the_end(path: Path) -> None:
    written(path, ("stdout", b"before\n"))
    over = threading.Event()
    found: list[bytes] = []

    def collect() -> None:
        found.extend(entry.text for entry in follow(path, over.is_set))

    reader = threading.Thread(target=collect)
    reader.start()
    for n in range(200):
        written(path, ("stdout", b"%d\n" % n))
    over.set()
    reader.join(10)

    assert found == [b"before\n", *(b"%d\n" % n for n in range(200))]


def test_a_spoilt_row_hides_no_other(path: Path) -> None:
    written(path, ("stdout", b"a\n"))
    with path.open("ab") as file:
        file.write(b'{"log": "half\n')
    written(path, ("stdout", b"b\n"))

    assert shown(path) == [("stdout", b"a\n"), ("stdout", b"b\n")]
    assert [entry.text for entry in last(path, 1)] == [b"b\n"]


def test_a_log_that_is_not_there_is_empty(path: Path) -> None:
    assert shown(path) == []
    assert last(path, 3) == []


def test_times_are_gos() -> None:
    assert format_time(1_700_000_000_120_000_000) == "2023-11-14T22:13:20.12Z"
    assert format_time(1_700_000_000_000_000_000) == "2023-11-14T22:13:20Z"
    for time_ns in (1_700_000_000_123_456_789, 1_700_000_000_000_000_001):
        assert parse_time(format_time(time_ns)) == time_ns
