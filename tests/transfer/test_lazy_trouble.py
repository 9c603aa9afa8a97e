"""Registries that lie, stall and die while layers come: never wrong data, never a wait for ever."""

from __future__ import annotations

import errno
import os
import threading
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.errors import NotArrived
from overlayfs_py.packs.pack import Pack
from tests.support.http_server import HANG_UP, Reply, Request
from tests.system.processes import wait_until
from tests.transfer.lazy_images import (
    FILES,
    NAME,
    TOP,
    Between,
    LazyImage,
    coming_pack,
    pulled,
    range_of,
    read,
    spoiled,
    start_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.http_server import HttpServer
    from tests.transfer.registries import Ours

WAIT_S = 0.6
_MARGIN_S = 3.0  # of a machine that has much to do
FIRST = 4096


class Spoiler:
    """Spoils all chunks but those that begin in some bytes of the pack."""

    def __init__(self) -> None:
        self.spoil: Callable[[Reply], Reply] = lambda _: HANG_UP
        self.well = range(0)
        self.longest = 2 << 17  # so that what others ask for brings no more than that

    def __call__(self, request: Request, answer: Callable[[], Reply]) -> Reply:
        wanted = range_of(request)
        is_well = wanted is not None and wanted.start in self.well
        if is_well and wanted is not None and len(wanted) <= self.longest:
            return answer()
        return spoiled(request, answer, self.spoil)


@pytest.fixture(scope="module")
def lazily(
    lazy_image: LazyImage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Ours, Spoiler, Pack]]:
    spoiler = Spoiler()
    between = Between(lazy_image.registry.domain, spoiler)
    home = tmp_path_factory.mktemp("spoiled") / "home"
    timeout = f"{WAIT_S * 1000:.0f}ms"
    lazy = pulled(lazy_image, home, "--read-timeout", timeout, between=between)
    with lazy as (ours, _, _), Pack(os.fsencode(coming_pack(ours))) as pack:
        yield ours, spoiler, pack


def _headers(reply: Reply, told: str) -> Reply:
    others = {k: v for k, v in reply.headers.items() if k.lower() != "content-range"}
    return replace(reply, headers={**others, "Content-Range": told})


def _told(reply: Reply) -> str:
    return next(value for name, value in reply.headers.items() if name.lower() == "content-range")


def _stalling(reply: Reply) -> Reply:
    def body() -> Iterator[bytes]:
        yield bytes(reply.body)[:1000]  # type: ignore[arg-type]
        time.sleep(2 * WAIT_S)

    return replace(reply, headers={**reply.headers, "Content-Length": "1000000"}, body=body())


def _body(reply: Reply) -> bytes:
    assert isinstance(reply.body, bytes)
    return reply.body


TROUBLES: dict[str, tuple[Callable[[Reply], Reply], str]] = {
    "other bytes": (lambda r: replace(r, body=bytes(len(_body(r)))), "wrong bytes for chunk"),
    "a bit flipped": (
        lambda r: replace(r, body=bytes([_body(r)[0] ^ 1]) + _body(r)[1:]),
        "wrong bytes for chunk",
    ),
    "dead": (lambda _: HANG_UP, "127.0.0.1"),
    "stalls": (_stalling, "nothing came"),
    "all of it": (lambda r: Reply(200, {}, _body(r) * 3), "gives no part of a blob"),
    "another range": (lambda r: _headers(r, "bytes 64-163/2000000"), "answered another range"),
    "no range": (lambda r: _headers(r, "bytes */2000000"), "answered another range"),
    "another size": (
        lambda r: _headers(r, f"{_told(r).rpartition(chr(47))[0]}/99999999"),
        "is said to have",
    ),
    "short": (lambda r: replace(r, body=_body(r)[:100]), "ended"),
    "an error": (lambda _: Reply(500, {}, b"no"), "500"),
    "gone": (lambda _: Reply(404, {}, b""), "404"),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_trouble_is_an_error_of_what_is_read_and_passes(
    lazily: tuple[Ours, Spoiler, Pack], name: str
) -> None:
    _, spoiler, pack = lazily
    spoiler.spoil, words = TROUBLES[name]
    # Not one after the other: that would be somebody who reads all.
    path = sorted(FILES, reverse=True)[list(TROUBLES).index(name)]
    began = time.monotonic()

    with pytest.raises(NotArrived) as failure:
        read(pack, path, FIRST)

    assert time.monotonic() - began < WAIT_S + _MARGIN_S
    assert failure.value.errno == errno.EIO
    assert words in str(failure.value)
    assert str(failure.value).count("\n") == 0

    start = start_of(pack, path)
    spoiler.well = range(start, start + 1)
    deadline = time.monotonic() + 20
    while True:  # once the registry is back
        try:
            found = read(pack, path, FIRST)
        except NotArrived:
            assert time.monotonic() < deadline
        else:
            break
    spoiler.well = range(0)
    assert found == FILES[path][:FIRST]


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def ranges_of(server: HttpServer) -> set[str]:
    return {request.headers["range"] for request in server.requests if range_of(request)}


@pytest.mark.parametrize("driver", ["direct", "pyfuse3"])
def test_a_mount_answers_others_while_one_waits(
    lazy_image: LazyImage, tmp_path: Path, driver: str
) -> None:
    spoiler = Spoiler()
    between = Between(lazy_image.registry.domain, spoiler)
    mnt = tmp_path / "mnt"
    mnt.mkdir()
    lazy = pulled(lazy_image, tmp_path / "home", "--read-timeout", "3s", between=between)
    with lazy as (ours, server, _):
        name = f"{server.domain}/{NAME}"
        with Pack(os.fsencode(coming_pack(ours, TOP.tar))) as top:
            start = start_of(top, "etc/name")
        spoiler.well = range(start, start + 1)
        ours("image", "mount", "--rw", "--driver", driver, "--root", ours.root, name, mnt)
        try:
            failures: list[OSError] = []

            def try_to(work: Callable[[], object]) -> None:
                try:
                    work()
                except OSError as error:
                    failures.append(error)

            away = [mnt / f"data/{n:02}" for n in range(3, 12)]
            works = [path.read_bytes for path in away]
            works += [partial(_append, path) for path in away[-4:]]
            waiting = [threading.Thread(target=try_to, args=(work,)) for work in works]
            for thread in waiting:
                thread.start()
            # More than there are threads that read a disk.
            wait_until(lambda: len(ranges_of(server)) > 6, "all of them to wait")
            assert (mnt / "etc/name").read_bytes() == b"small\n"
            (mnt / "etc/name").write_bytes(b"changed")
            (mnt / "new").write_text("new")
            assert sorted(os.listdir(mnt / "data")) == sorted(each[5:] for each in FILES)
            assert all(thread.is_alive() for thread in waiting)
            for thread in waiting:
                thread.join(20)
            assert [error.errno for error in failures] == [errno.EIO] * len(works)
            assert (mnt / "etc/name").read_bytes() == b"changed"

            spoiler.spoil = lambda reply: reply
            assert away[0].read_bytes() == FILES["data/03"]
            _append(away[-1])
            assert away[-1].read_bytes() == FILES["data/11"] + b"x"
        finally:
            ours("umount", mnt)
