"""Pulls that are killed, and registries that lie: what stays, what is said, what moves again."""

from __future__ import annotations

import gzip
import os
import random
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.http_server import HANG_UP, Reply, Request
from tests.support.oci_layout import Layer, digest, layer_of, write_layout
from tests.system.processes import wait_until
from tests.transfer.registries import PROGRAM, Ours
from tests.transfer.served_image import ServedImage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.registry.conftest import Serve
    from tests.support.http_server import HttpServer

LAYER = layer_of({"usr/data": random.Random(2).randbytes(8 << 20)})
BLOB = digest(LAYER.blob)
HALF = 5 << 20
KEPT = 3 << 20  # what is in memory when a process is killed comes again


@pytest.fixture
def image(tmp_path: Path) -> ServedImage:
    return ServedImage(tmp_path / "oci", write_layout(tmp_path / "oci", [LAYER]))


def stops_halfway(image: ServedImage, server: HttpServer) -> None:
    """Let the layer come to a halt, as on a link that died."""

    def trickle(request: Request) -> Reply | None:
        if not request.path.endswith(BLOB):
            return None

        def half() -> Iterator[bytes]:
            yield LAYER.blob[:HALF]
            server.stopping.wait()

        return Reply(200, {"Content-Length": str(len(LAYER.blob))}, half())

    image.trouble = trickle


def kill_halfway(ours: Ours, image: ServedImage, server: HttpServer) -> Path:
    """Kill a pull; returns the download that it left."""
    stops_halfway(image, server)
    download = ours.root / "partial" / BLOB[7:]
    command = [PROGRAM, "pull", "--root", ours.root, "--tls-verify=false", f"{server.domain}/app:1"]
    with subprocess.Popen(command, env=ours.environment, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: download.exists() and download.stat().st_size >= KEPT, "half of it")
        finally:
            process.send_signal(signal.SIGKILL)
    image.trouble = lambda _: None
    server.requests.clear()
    return download


def ranges(server: HttpServer) -> list[str]:
    return [r.headers.get("range", "") for r in server.requests if r.path.endswith(BLOB)]


def test_a_killed_pull_goes_on_where_it_was(ours: Ours, serve: Serve, image: ServedImage) -> None:
    server = serve(image)
    download = kill_halfway(ours, image, server)
    here = download.stat().st_size
    assert list(ours.store.check()) == []

    ours.pull(f"{server.domain}/app:1")

    assert ranges(server) == [f"bytes={here}-"]
    assert ours.store.image(f"{server.domain}/app:1").layers[0].diff_id == digest(LAYER.tar)
    assert list(ours.store.check()) == []
    assert not download.exists()


def test_a_download_whose_layer_is_there_goes_with_the_next_pull(
    ours: Ours, serve: Serve, image: ServedImage
) -> None:
    """Who is killed between the two leaves both."""
    server = serve(image)
    ours.pull(f"{server.domain}/app:1")
    download = ours.root / "partial" / BLOB[7:]
    download.write_bytes(LAYER.blob)

    assert "Already exists" in ours.pull(f"{server.domain}/app:1")

    assert not download.exists()


def test_a_download_that_went_bad_is_fetched_again(
    ours: Ours, serve: Serve, image: ServedImage
) -> None:
    server = serve(image)
    download = kill_halfway(ours, image, server)
    with download.open("r+b") as file:
        file.seek(1 << 20)
        file.write(b"rotten")

    ours.pull(f"{server.domain}/app:1")

    assert ranges(server)[-1] == ""
    assert list(ours.store.check()) == []


def test_a_download_longer_than_its_blob_is_fetched_again(
    ours: Ours, serve: Serve, image: ServedImage
) -> None:
    server = serve(image)
    download = kill_halfway(ours, image, server)
    os.truncate(download, len(LAYER.blob) + 1)

    ours.pull(f"{server.domain}/app:1")

    assert ranges(server) == [""]


def test_a_link_that_breaks_off_costs_no_byte_twice(
    ours: Ours, serve: Serve, image: ServedImage
) -> None:
    server = serve(image)
    cuts = iter((1 << 20, 3 << 20))

    def cut(request: Request) -> Reply | None:
        if not request.path.endswith(BLOB) or (size := next(cuts, None)) is None:
            return None
        whole = image.answer(request)
        assert isinstance(whole.body, bytes)
        headers = {**whole.headers, "Content-Length": str(len(whole.body))}
        return Reply(whole.status, headers, whole.body[:size])

    image.trouble = cut

    ours.pull(f"{server.domain}/app:1")

    assert ranges(server) == ["", f"bytes={1 << 20}-", f"bytes={4 << 20}-"]


WRONG = bytes(len(LAYER.blob))
LIES = {
    "other bytes": (Reply(body=WRONG), 30, "has digest"),
    "too short": (Reply(body=LAYER.blob[:-1]), 30, f"is said to have {len(LAYER.blob)} bytes"),
    "too long": (Reply(body=LAYER.blob + b"x"), 30, f"and has {len(LAYER.blob) + 1}"),
    "not there": (Reply(404), 31, "answered 404"),
    "denied": (Reply(403), 41, "answered 403"),
}


@pytest.mark.parametrize(("reply", "code", "words"), LIES.values(), ids=LIES.keys())
def test_a_registry_that_lies_leaves_nothing(
    ours: Ours, serve: Serve, image: ServedImage, reply: Reply, code: int, words: str
) -> None:
    server = serve(image)
    image.trouble = lambda request: reply if request.path.endswith(BLOB) else None

    got, line = ours.fails_to_pull(f"{server.domain}/app:1")

    assert got == code
    assert line.startswith(f"{server.domain}/app@{BLOB}: ")
    assert words in line
    assert ours.store.images() == []
    assert list(ours.store.check()) == []
    download = ours.root / "partial" / BLOB[7:]
    assert not download.exists() or download.stat().st_size == 0


def test_a_config_that_lies_about_its_layers_is_found_out(
    ours: Ours, serve: Serve, tmp_path: Path
) -> None:
    lie = digest(b"another tar")
    manifest = write_layout(tmp_path / "liar", [LAYER], diff_ids=[lie])
    server = serve(ServedImage(tmp_path / "liar", manifest))

    code, line = ours.fails_to_pull(f"{server.domain}/app:1")

    assert code == 30
    assert line.endswith(f"uncompressed: has digest {digest(LAYER.tar)}, expected {lie}")
    assert ours.store.images() == []
    assert list(ours.store.check()) == []


def test_a_manifest_and_a_config_that_do_not_fit_are_refused(
    ours: Ours, serve: Serve, tmp_path: Path
) -> None:
    manifest = write_layout(tmp_path / "odd", [LAYER], diff_ids=[digest(LAYER.tar)] * 2)
    server = serve(ServedImage(tmp_path / "odd", manifest))

    code, line = ours.fails_to_pull(f"{server.domain}/app:1")

    assert code == 32
    assert "1 layers, its config has 2" in line


def test_a_layer_that_nobody_can_unpack_is_refused(
    ours: Ours, serve: Serve, tmp_path: Path
) -> None:
    kind = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"
    layers = [LAYER, Layer(LAYER.tar, LAYER.blob, kind)]
    server = serve(ServedImage(tmp_path / "secret", write_layout(tmp_path / "secret", layers)))

    code, line = ours.fails_to_pull(f"{server.domain}/app:1")

    assert code == 32
    assert line.endswith(f": not an image to run: it has '{kind}'")


def test_what_is_no_tar_is_refused(ours: Ours, serve: Serve, tmp_path: Path) -> None:
    noise = random.Random(3).randbytes(4096)
    manifest = write_layout(tmp_path / "noise", [Layer(noise, gzip.compress(noise))])
    server = serve(ServedImage(tmp_path / "noise", manifest))

    code, line = ours.fails_to_pull(f"{server.domain}/app:1")

    assert code == 23
    assert line.startswith(f"{server.domain}/app@sha256:")
    assert ": bad tar at byte 0: " in line
    assert list(ours.store.check()) == []


def test_a_registry_that_stays_busy_is_given_up(
    ours: Ours, serve: Serve, image: ServedImage
) -> None:
    server = serve(image)
    image.trouble = lambda r: (
        Reply(429, {"Retry-After": "3600"}) if "/manifests/" in r.path else None
    )

    code, line = ours.fails_to_pull(f"{server.domain}/app:1")

    assert code == 42
    assert line.endswith("it asks to wait for 3600 s")


def test_one_failing_layer_ends_the_others_at_once(
    ours: Ours, serve: Serve, tmp_path: Path
) -> None:
    other = layer_of({"other": b"x"})
    manifest = write_layout(tmp_path / "two", [LAYER, other])
    image = ServedImage(tmp_path / "two", manifest)
    server = serve(image)
    stops_halfway(image, server)
    halting = image.trouble
    image.trouble = lambda r: Reply(404) if r.path.endswith(digest(other.blob)) else halting(r)

    code, line = ours.fails_to_pull(f"{server.domain}/app:1")

    assert code == 31
    assert digest(other.blob) in line


def test_nobody_there_is_one_line(ours: Ours, serve: Serve) -> None:
    server = serve(lambda _: HANG_UP)
    server.hang_up()
    server.shutdown()
    server.server_close()

    code, line = ours.fails_to_pull(f"{server.domain}/app:1")

    assert code == 42
    assert line == f"{server.domain}/app:1: {server.domain}: cannot connect: Connection refused"
