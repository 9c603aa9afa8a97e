"""Manifests and configs to start from, as JSON objects."""

from __future__ import annotations

import json

from overlayfs_py.image import media_types
from overlayfs_py.image.digest import digest_of
from overlayfs_py.image.go_json import Json  # noqa: TC001 - Json is an alias, used in values

CONFIG_BYTES = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers"}}'


def descriptor(media_type: str, content: bytes = b"x", **more: Json) -> dict[str, Json]:
    return {
        "mediaType": media_type,
        "digest": digest_of(content),
        "size": len(content),
        **more,
    }


def manifest(**changes: Json) -> dict[str, Json]:
    """An OCI manifest; a change to None takes the field away."""
    return _changed(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_MANIFEST,
            "config": descriptor(media_types.OCI_CONFIG, CONFIG_BYTES),
            "layers": [descriptor(media_types.OCI_LAYER_GZIP)],
        },
        changes,
    )


def index(**changes: Json) -> dict[str, Json]:
    return _changed(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_INDEX,
            "manifests": [
                descriptor(
                    media_types.OCI_MANIFEST, platform={"os": "linux", "architecture": "arm64"}
                )
            ],
        },
        changes,
    )


def encoded(document: Json) -> bytes:
    return json.dumps(document).encode()


def _changed(document: dict[str, Json], changes: dict[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in (document | changes).items() if value is not None}
