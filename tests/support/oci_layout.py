"""Small images, written as an OCI layout that skopeo can copy."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_OCI = "application/vnd.oci.image."


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer's tar and its blob."""

    tar: bytes
    blob: bytes
    media_type: str = f"{_OCI}layer.v1.tar+gzip"


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """A tar of regular files, each directory before what is in it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def layer_of(files: Mapping[str, bytes]) -> Layer:
    tar = tar_of(files)
    return Layer(tar, gzip.compress(tar, mtime=0))


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def write_layout(
    directory: Path,
    layers: Sequence[Layer],
    *,
    diff_ids: Sequence[str] | None = None,
    command: str = "/bin/sh",
    architecture: str = "amd64",
) -> str:
    """Write an image with the tag `latest`; returns its manifest's digest.

    `diff_ids` in place of the true ones make an image that lies.
    """
    (directory / "blobs/sha256").mkdir(parents=True)
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Cmd": [command]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids or [digest(each.tar) for each in layers]},
        "history": [{"created_by": f"layer {n}"} for n, _ in enumerate(layers)],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_OCI}manifest.v1+json",
        "config": _put(directory, f"{_OCI}config.v1+json", json.dumps(config).encode()),
        "layers": [_put(directory, each.media_type, each.blob) for each in layers],
    }
    described = _put(directory, f"{_OCI}manifest.v1+json", json.dumps(manifest).encode())
    tagged = described | {"annotations": {"org.opencontainers.image.ref.name": "latest"}}
    index = {"schemaVersion": 2, "manifests": [tagged]}
    (directory / "index.json").write_text(json.dumps(index))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return str(described["digest"])


def _put(directory: Path, media_type: str, data: bytes) -> dict[str, object]:
    name = digest(data)
    (directory / "blobs/sha256" / name.removeprefix("sha256:")).write_bytes(data)
    return {"mediaType": media_type, "digest": name, "size": len(data)}
