"""A build's cache in a directory, looked into and changed as one would who may write it."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Json = dict[str, Any]


class CacheLayout:
    """The one artifact of an OCI layout."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def blob(self, digest: str) -> Path:
        return self.root / "blobs/sha256" / digest.removeprefix("sha256:")

    def put(self, data: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.blob(digest).write_bytes(data)
        return digest

    @property
    def manifest(self) -> Json:
        (named,) = json.loads((self.root / "index.json").read_bytes())["manifests"]
        found: Json = json.loads(self.blob(named["digest"]).read_bytes())
        return found

    @property
    def config(self) -> Json:
        found: Json = json.loads(self.blob(self.manifest["config"]["digest"]).read_bytes())
        return found

    def rewrite(self, change: Callable[[Json, Json], None]) -> None:
        """Have `change` work on the manifest and the config, and make all digests fit."""
        manifest, config = self.manifest, self.config
        change(manifest, config)
        raw = json.dumps(config).encode()
        manifest["config"] |= {"digest": self.put(raw), "size": len(raw)}
        raw = json.dumps(manifest).encode()
        index = json.loads((self.root / "index.json").read_bytes())
        index["manifests"][0] |= {"digest": self.put(raw), "size": len(raw)}
        (self.root / "index.json").write_text(json.dumps(index))
