"""Dockerfiles built by ours and by buildah: the same trees and configs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.system.engine import make_root_filesystem

_SCRIPT = Path(__file__).parents[2] / "scripts/compare-builds"
# One of each kind; all of them, and BuildKit, in the script.
_CASES = ("copy-over",)


def test_buildah_builds_the_same(tmp_path: Path) -> None:
    root = tmp_path / "root"
    make_root_filesystem(root)
    for applet in ("ln", "mkfifo", "mkdir", "echo"):
        (root / "bin" / applet).unlink(missing_ok=True)
        (root / "bin" / applet).symlink_to("busybox")

    done = subprocess.run(
        [sys.executable, _SCRIPT, root, *_CASES, "--buildah"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.stdout.endswith("1 of 1 the same, or different for a known reason\n"), done
    assert done.returncode == 0
