"""An image served by an HTTP server of ours, whole or with one answer gone wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.http_server import Reply, Request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class ServedImage:
    """`trouble` may answer in its place; None is no trouble."""

    def __init__(self, layout: Path, manifest: str, blobs: Path | None = None) -> None:
        self._blobs = blobs or layout / "blobs/sha256"
        self._manifest = manifest
        self.trouble: Callable[[Request], Reply | None] = lambda _: None

    def __call__(self, request: Request) -> Reply:
        return self.trouble(request) or self.answer(request)

    def answer(self, request: Request) -> Reply:
        kind, _, name = request.path.rpartition("/")
        if kind.endswith("/manifests"):
            digest = name if ":" in name else self._manifest
            return Reply(200, {"Content-Type": MANIFEST}, self.blob(digest))
        if kind.endswith("/blobs"):
            return self.part(name, request)
        return Reply()

    def part(self, digest: str, request: Request) -> Reply:
        data = self.blob(digest)
        if "range" not in request.headers:
            return Reply(body=data)
        start = int(request.headers["range"].removeprefix("bytes=").removesuffix("-"))
        content_range = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return Reply(206, {"Content-Range": content_range}, data[start:])

    def blob(self, digest: str) -> bytes:
        return (self._blobs / digest.removeprefix("sha256:")).read_bytes()
