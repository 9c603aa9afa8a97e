"""Wrong Dockerfiles: what is said of each, beside docker's word and buildah's (`pytest -rP`)."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from overlayfs_py.dockerfile.errors import DockerfileError
from overlayfs_py.dockerfile.parsing import parse

# `says`: the line and what is shown below it; `docker`: BuildKit's word, empty where it has none
# until the build is under way, or never.
_WRONG = json.loads((Path(__file__).parent / "wrong.json").read_text())


@pytest.mark.parametrize("wrong", _WRONG, ids=lambda wrong: wrong["what"])
def test_what_is_said(wrong, tmp_path: Path) -> None:
    text = wrong["dockerfile"].encode("utf-8", "surrogateescape")

    with pytest.raises(DockerfileError) as raised:
        parse(text, "Dockerfile")

    said = [str(raised.value), *raised.value.details]
    print("\n".join([*said, f"docker:  {wrong['docker']}", f"buildah: {_buildah(text, tmp_path)}"]))
    assert said == wrong["says"]


def _buildah(text: bytes, tmp_path: Path) -> str:
    """Return what buildah says; the image is none, so it fetches nothing."""
    (tmp_path / "Dockerfile").write_bytes(text)
    storage = ["--root", tmp_path / "root", "--runroot", tmp_path / "run", "--storage-driver=vfs"]
    done = subprocess.run(
        ["buildah", *storage, "bud", "--isolation=chroot", "--pull-never", tmp_path],
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
    )
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    return re.sub(r" &imagebuilder.*", "", errors[-1]) if errors else "nothing"


def test_there_are_enough() -> None:
    assert len(_WRONG) >= 40
