"""Advice that is followed makes an image smaller by what it said."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_BEFORE = """\
FROM scratch
COPY busybox /bin/sh
COPY busybox /bin/chown
COPY . /app
RUN chown -R 7:7 /app
"""
_FOLLOWED = """\
FROM scratch
COPY busybox /bin/sh
COPY busybox /bin/chown
COPY --chown=7:7 . /app
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    directory = tmp_path / "context"
    (directory / ".git").mkdir(parents=True)
    (directory / ".git" / "pack").write_bytes(b"history" * 100_000)
    (directory / "app.bin").write_bytes(b"program" * 70_000)
    shutil.copy("/bin/busybox", directory / "busybox")
    return directory


def _run(program: Path, *words: str | Path, codes: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run([program, *words], check=False, capture_output=True, text=True)
    assert done.returncode in codes, done.stderr
    return done.stdout


def test_an_image_gets_smaller_by_what_was_said(
    overlayfs_py: Path, context: Path, tmp_path: Path
) -> None:
    store = ("--root", tmp_path / "store")
    (context / "Dockerfile").write_text(_BEFORE)
    _run(overlayfs_py, "build", *store, "-t", "before", context)
    rows = _run(overlayfs_py, "lint", *store, "--json", context / "Dockerfile", codes=(1,))
    said = {row["Rule"]: row for row in map(json.loads, rows.splitlines())}

    # The two of them: what no image needs, and what the RUN has made a second time.
    (context / ".dockerignore").write_text(said["CopyTooWide"]["Rewrite"].partition(": ")[2])
    (context / "Dockerfile").write_text(_FOLLOWED)
    _run(overlayfs_py, "build", *store, "-t", "followed", context)

    before, followed = (
        int(_run(overlayfs_py, "inspect", *store, "--format", "{{.Size}}", name))
        for name in ("before", "followed")
    )
    promised = sum(int(said[name]["Bytes"]) for name in ("CopyTooWide", "ChangedLater"))
    assert promised > 1_000_000
    assert before - followed == pytest.approx(promised, rel=0.02)
