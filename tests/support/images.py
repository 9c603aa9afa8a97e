"""Images that podman builds, and the same images put into a store of ours."""

from __future__ import annotations

import json
import tarfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from overlayfs_py.image.digest import digest_of, hex_of, parse_digest
from overlayfs_py.image.manifest import parse_image_manifest
from overlayfs_py.image.reference import parse_reference
from overlayfs_py.store.layers import LayerFacts, LayerIngest
from overlayfs_py.store.records import Form
from tests.system.processes import attempt, run

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from overlayfs_py.image.digest import Digest
    from overlayfs_py.store.additions import Addition
    from overlayfs_py.store.store import Store

_EPOCH = "1700000000"  # 2023-11-14: what every image here is dated


@dataclass(frozen=True)
class Podman:
    """A store of podman's, of its own."""

    base: Path

    @property
    def command(self) -> list[str]:
        return [
            "podman",
            f"--root={self.base / 'root'}",
            f"--runroot={self.base / 'run'}",
            "--storage-driver=vfs",
            "--events-backend=none",
        ]

    def build(self, tag: str, dockerfile: str, *, form: str = "docker", **files: str) -> None:
        """Build an image; `files` are in its context."""
        context = self.base / f"context-{hex_of(digest_of(dockerfile.encode()))}"
        context.mkdir(parents=True, exist_ok=True)
        (context / "Dockerfile").write_text(dockerfile)
        for name, content in files.items():
            (context / name).write_text(content)
        options = ["--isolation=chroot", f"--format={form}", f"--timestamp={_EPOCH}", "-q"]
        run([*self.command, "build", *options, "-t", tag, context])

    def run(self, *arguments: str) -> str:
        return run([*self.command, *arguments])

    def attempt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return attempt([*self.command, *arguments])

    def into(self, store: Store, tag: str, form: str = "v2s2") -> None:
        """Put an image into a store of ours, under the same name."""
        layout = self.base / f"{hex_of(digest_of(tag.encode()))}-{form}"
        run([*self.command, "push", "-q", f"--format={form}", tag, f"dir:{layout}"])
        add_image(store, layout, tag)


@contextmanager
def podman_of_its_own() -> Iterator[Podman]:
    """A podman whose store goes at the end. Its paths are short: a runroot has 50 bytes at most."""
    with TemporaryDirectory(prefix="podman-") as base:
        yield Podman(Path(base))


def add_image(store: Store, layout: Path, name: str) -> None:
    """Add the image that a directory of skopeo's `dir:` holds."""
    raw = (layout / "manifest.json").read_bytes()
    manifest = parse_image_manifest(raw, None)
    config = (layout / hex_of(manifest.config.digest)).read_bytes()
    diff_ids = [parse_digest(text) for text in json.loads(config)["rootfs"]["diff_ids"]]
    with store.add() as addition:
        for layer, diff_id in zip(manifest.layers, diff_ids, strict=True):
            _add_layer(addition, layout / hex_of(layer.digest), diff_id)
        addition.put_blob(config)
        addition.put_blob(raw)
        reference = parse_reference(name)
        addition.add_image(manifest, references=[reference], repositories=[reference.repository])


def _add_layer(addition: Addition, blob: Path, diff_id: Digest) -> None:
    with addition.ingest_layer(diff_id, Form.TREE) as ingest:
        if not isinstance(ingest, LayerIngest):
            return
        ingest.path.mkdir()
        run(["tar", "--numeric-owner", "-xpf", blob, "-C", ingest.path])
        with tarfile.open(blob) as archive:
            sizes = {member.name: member.size for member in archive if member.isreg()}
        facts = LayerFacts(diff_id, tar_size=0, files_size=sum(sizes.values()))
        addition.commit_layer(ingest, facts)
