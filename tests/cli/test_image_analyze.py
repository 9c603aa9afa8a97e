"""`overlayfs-py image analyze`: what it prints, its page, its exit codes, and what is saved."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, TypedDict

import pytest

from overlayfs_py.advice.image_report import RULES
from overlayfs_py.store.store import Store
from tests.support.stored import make_image
from tests.system.processes import attempt, run

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

BIG = "b" * 100_000

Analyze = Callable[..., "subprocess.CompletedProcess[str]"]


class _Piece(TypedDict):
    rule: str
    rewrite: str
    bytes: int
    paths: list[str]


class _Report(TypedDict):
    bytes: int
    wasted_bytes: int
    savable_bytes: int
    wasted_percent: float
    layers: list[dict[str, object]]
    advice: list[_Piece]


@pytest.fixture
def analyze(tmp_path: Path, overlayfs_py: Path) -> Analyze:
    store = Store.open(tmp_path / "store")
    layers = [{"big": BIG, "<script>alert(1)</script>": BIG + "\x1b"}, {".wh.big": ""}]
    make_image(store, "app", layers=layers, steps=["COPY <img src=x> /", "RUN rm big"])

    def call(*words: object) -> subprocess.CompletedProcess[str]:
        argv = [overlayfs_py, "image", "analyze", "--root", tmp_path / "store"]
        return attempt([*argv, *map(str, words)])

    return call


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ([], 0),
        (["--max-waste", "50%"], 0),
        (["--max-waste", "49%"], 1),
        (["--max-waste", "99.9kb"], 1),
        (["--fail-on", "warning"], 1),
        (["--fail-on", "error"], 0),
        (["--fail-on", "DeletedLater", "--skip", "DeletedLater"], 0),
        (["--fail-on", "DeletedLate"], 2),
    ],
)
def test_an_exit_code_for_ci(analyze: Analyze, words: list[str], status: int) -> None:
    done = analyze(*words, "app")

    assert done.returncode == status, done.stderr
    assert ("did you mean" in done.stderr) == (words[-1:] == ["DeletedLate"])


def test_a_report_for_programs(analyze: Analyze) -> None:
    told = json.loads(analyze("--json", "app").stdout)

    assert (told["bytes"], told["wasted_bytes"], told["wasted_percent"]) == (200_001, 100_000, 50)
    assert [layer["instruction"] for layer in told["layers"]] == [
        "COPY <img src=x> /",
        "RUN rm big",
    ]
    assert told["advice"][0]["paths"] == ["/big"]
    assert told["advice"][0]["rule"] in RULES


def test_a_page_runs_and_fetches_nothing(analyze: Analyze, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = analyze("--html", page, "app")
    text = page.read_text()

    assert done.returncode == 0
    assert "<script" not in text
    assert "<img" not in text
    assert "&lt;script&gt;" in text
    assert "&lt;img src=x&gt;" in text
    assert "\x1b" not in text
    assert "://" not in text
    assert "default-src 'none'" in text


# One file that is shell and tools: busybox looks for its own programs first.
BEFORE = """\
FROM scratch
COPY busybox /bin/sh
RUN dd if=/dev/urandom of=/big bs=1k count=900 && dd if=/dev/urandom of=/kept bs=1k count=200
RUN rm /big
COPY data /data
RUN chmod 600 /data
"""
AFTER = """\
FROM scratch
COPY busybox /bin/sh
{}
COPY --chmod=0600 data /data
"""


def test_following_it_saves_what_it_said(overlayfs_py: Path, tmp_path: Path) -> None:
    """Within 2 %: a rewrite, as it is printed, in the place of the instructions."""
    busybox = shutil.which("busybox")
    assert busybox, "install the Debian package busybox-static"
    context = tmp_path / "context"
    context.mkdir()
    shutil.copy(busybox, context)
    (context / "data").write_bytes(os.urandom(700_000))

    before = _built(overlayfs_py, tmp_path, "before", BEFORE)
    rewrites = {each["rule"]: each["rewrite"] for each in before["advice"] if each["bytes"]}
    assert rewrites.keys() == {"DeletedLater", "CopiedForAttributes"}
    assert rewrites["CopiedForAttributes"].startswith("COPY --chmod=0600 ")
    after = _built(overlayfs_py, tmp_path, "after", AFTER.format(rewrites["DeletedLater"]))

    assert before["savable_bytes"] > 1_600_000
    saved = before["bytes"] - after["bytes"]
    assert saved == pytest.approx(before["savable_bytes"], rel=0.02)
    assert after["wasted_bytes"] == 0


def _built(overlayfs_py: Path, tmp_path: Path, name: str, dockerfile: str) -> _Report:
    (tmp_path / "context/Dockerfile").write_text(dockerfile)
    storage = ["--root", tmp_path / "storage", "--runroot", tmp_path / "run"]
    buildah = ["buildah", *storage, "--storage-driver", "vfs"]
    how = ["--layers", "--isolation", "chroot", "--network", "host"]
    run([*buildah, "bud", *how, "-t", name, tmp_path / "context"])
    archive, store = tmp_path / f"{name}.tar", tmp_path / "ours"
    run([*buildah, "push", name, f"oci-archive:{archive}:localhost/{name}:latest"])
    run([overlayfs_py, "load", "--root", store, "-i", archive])
    done = run([overlayfs_py, "image", "analyze", "--json", "--root", store, f"localhost/{name}"])
    report: _Report = json.loads(done)
    return report
