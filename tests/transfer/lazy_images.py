"""An image with packs in a real registry, and what stands before it and spoils answers."""

from __future__ import annotations

import http.client
import random
import re
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.support.http_server import Reply, Request, http_server
from tests.support.oci_layout import digest, layer_of, write_layout
from tests.system.processes import run
from tests.transfer.registries import Ours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from overlayfs_py.packs.pack import Pack
    from overlayfs_py.packs.reader import PackReader
    from tests.support.docker_registry import DockerRegistry
    from tests.support.http_server import HttpServer

_FILE_BYTES = 4 << 17  # four chunks
FILES = {f"data/{n:02}": random.Random(n).randbytes(_FILE_BYTES) for n in range(12)}
SMALL = {"etc/name": b"small\n", "etc/many": b"0123456789\n" * 40_000}
BASE, TOP = layer_of(FILES), layer_of(SMALL)
NAME = "lazy/app:1"
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")
_KEPT = ("content-type", "content-range", "docker-content-digest", "location", "range")


def range_of(request: Request) -> range | None:
    """The bytes that a request is for, None if it is for all."""
    found = _RANGE.fullmatch(request.headers.get("range", ""))
    return None if found is None else range(int(found[1]), int(found[2]) + 1)


@dataclass(slots=True)
class Between:
    """Passes requests on to a registry; `trouble` may answer in its place, or spoil the answer."""

    domain: str
    trouble: Callable[[Request, Callable[[], Reply]], Reply] = field(
        default=lambda _, answer: answer()
    )

    def __call__(self, request: Request) -> Reply:
        return self.trouble(request, lambda: self._pass_on(request))

    def _pass_on(self, request: Request) -> Reply:
        connection = http.client.HTTPConnection(self.domain)
        skipped = ("host", "content-length", "transfer-encoding", "connection")
        headers = {name: value for name, value in request.headers.items() if name not in skipped}
        try:
            connection.request(request.method, request.path, request.body, headers)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        kept = {name: value for name, value in response.getheaders() if name.lower() in _KEPT}
        if request.method == "HEAD":
            kept["Content-Length"] = response.headers.get("content-length", "0")
        return Reply(response.status, kept, body)


@dataclass(frozen=True, slots=True)
class LazyImage:
    """What a registry has, and the packs as they were pushed."""

    registry: DockerRegistry
    whole: Ours  # a store with all of it


def push(registry: DockerRegistry, home: Path, *options: str) -> LazyImage:
    """Push the image and its packs, from a store of its own."""
    home.mkdir()
    ours = Ours(home)
    write_layout(home / "oci", [BASE, TOP])
    name = f"{registry.domain}/{NAME}"
    run(
        [
            "skopeo",
            "copy",
            "-q",
            "--dest-tls-verify=false",
            f"oci:{home / 'oci'}:latest",
            f"docker://{name}",
        ]
    )
    ours.pull(name)
    ours("push", "--root", ours.root, "--tls-verify=false", "--packs", *options, name)
    return LazyImage(registry, ours)


@contextmanager
def pulled(
    image: LazyImage, home: Path, *options: str, between: Between | None = None, name: str = NAME
) -> Iterator[tuple[Ours, HttpServer, Between]]:
    """The image pulled lazily by way of a server; who brings chunks ends with the block."""
    home.mkdir()
    ours = Ours(home)
    between = between or Between(image.registry.domain)
    with http_server(between) as server:
        try:
            ours.pull(f"{server.domain}/{name}", "--lazy", *options)
            yield ours, server, between
        finally:
            shutil.rmtree(ours.root / "coming", ignore_errors=True)


def coming_pack(ours: Ours, layer: bytes = BASE.tar) -> Path:
    """The pack of a layer that is coming."""
    return ours.root / "coming" / digest(layer)[7:] / "layer.pack"


def _reader(pack: Pack, path: str) -> PackReader:
    number = 0
    for name in path.encode().split(b"/"):
        number, _ = pack.index.dirent(pack.index.find(pack.index.directory(number), name))
    return pack.reader(pack.index.inode(number))


def read(pack: Pack, path: str, size: int = 1 << 30) -> bytes:
    """A file of a pack."""
    return _reader(pack, path).read(0, size)


def start_of(pack: Pack, path: str) -> int:
    """Where the first chunk of a file lies in the pack."""
    return pack.index.chunk(next(_reader(pack, path).chunks()))[0]


def spoiled(
    request: Request, answer: Callable[[], Reply], spoil: Callable[[Reply], Reply]
) -> Reply:
    """What a request for chunks gets; others are answered."""
    wanted, reply = range_of(request), answer()
    told = {name.lower(): value for name, value in reply.headers.items()}.get("content-range", "")
    # What goes to the end of its blob is the index of a pack.
    is_chunk = wanted is not None and told.rpartition("/")[2] != str(wanted.stop)
    return spoil(reply) if is_chunk else reply
