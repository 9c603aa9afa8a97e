"""Packs of which chunks are still to come: who is believed, and how long a reader waits."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.errors import NotArrived
from overlayfs_py.packs.arrivals import HERE, SOCKET, find_arrivals, new_head, read_wanted
from overlayfs_py.packs.pack import Pack
from overlayfs_py.packs.values import Metadata
from tests.packs.reading import write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CHUNK = 1 << 12  # of the packs that `write` makes
DATA = os.urandom(3 * CHUNK)


@pytest.fixture
def coming(tmp_path: Path) -> Path:
    """A pack of which nothing is said to be here."""
    directory = tmp_path / "coming" / "layer"
    directory.mkdir(parents=True, mode=0o700)
    pack = directory / "layer.pack"
    pack.write_bytes(write(lambda writer: writer.add_file((b"file",), Metadata(), [DATA])))
    (directory / HERE).write_bytes(new_head(0.4) + bytes(3))
    return pack


@pytest.mark.parametrize("name", ["coming", f"coming/layer/{HERE}"])
def test_what_another_may_write_says_nothing(coming: Path, tmp_path: Path, name: str) -> None:
    found = find_arrivals(os.fsencode(coming))
    assert found is not None
    found.close()
    path = tmp_path / name

    path.chmod(path.stat().st_mode | 0o020)
    assert find_arrivals(os.fsencode(coming)) is None

    path.chmod(0o700)
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)
        assert find_arrivals(os.fsencode(coming)) is None


def test_a_link_in_its_place_says_nothing(coming: Path, tmp_path: Path) -> None:
    here = coming.with_name(HERE)
    here.rename(tmp_path / "elsewhere")
    here.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="symbolic links"):
        find_arrivals(os.fsencode(coming))


@contextmanager
def answering(directory: Path, answer: Callable[[bytes], bytes | None]) -> Iterator[None]:
    """A thread that listens in place of the process that brings chunks."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.fspath(directory / SOCKET))
    listener.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            said = answer(connection.recv(1024))
            if said is not None:
                connection.send(said)
                connection.close()
            else:
                kept.append(connection)

    kept: list[socket.socket] = []
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)  # which ends its accept(2)
        thread.join()
        for each in (listener, *kept):
            each.close()


@pytest.mark.parametrize(
    ("answer", "words"), [(None, "no answer"), (b"its reason\n", "its reason")]
)
def test_a_read_ends_in_time_with_the_reason(
    coming: Path, answer: bytes | None, words: str
) -> None:
    began = time.monotonic()
    with (
        answering(coming.parents[1], lambda _: answer),
        Pack(os.fsencode(coming)) as pack,
        pytest.raises(NotArrived, match=words),
    ):
        pack.chunks.get(0)
    assert time.monotonic() - began < 3


def test_who_brings_it_hears_what_is_wanted(coming: Path) -> None:
    asked = []

    def bring(line: bytes) -> bytes:
        asked.append(read_wanted(line))
        return b"ok\n"

    with answering(coming.parents[1], bring), Pack(os.fsencode(coming)) as pack:
        number, _ = pack.index.dirent(pack.index.find(pack.index.directory(0), b"file"))
        reader = pack.reader(pack.index.inode(number))
        wanted = list(reader.chunks())[1]
        assert reader.read(CHUNK, CHUNK) == DATA[CHUNK : 2 * CHUNK]
    assert [(each.layer, each.chunk, each.again) for each in asked] == [("layer", wanted, False)]


@pytest.mark.parametrize("line", [b"", b"[]", b"{}", b"\xff", json.dumps({"layer": 1}).encode()])
def test_a_line_that_asks_for_nothing_is_refused(line: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        read_wanted(line)
