"""What a fresh Debian root costs a test: our fixture, a copy of the tree, a container of podman's.

Each test changes all files of one package. Milliseconds of wall time per test, with pytest's own.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.system.beside_podman import ours, podman
from tests.system.processes import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.beside_podman import Side

_CHECKOUT = Path(__file__).parents[2]
_IMAGE = "debian:bench"
_LIST = "var/lib/dpkg/info/dpkg.list"
_SLOW_TESTS = 20  # of those that take seconds each
_CHANGE = f"""
    import pathlib, shutil, subprocess, pytest

    def change(root, at):
        assert not (root / "changed").exists()
        (root / "changed").touch()
        changed = 0
        for name in (root / "{_LIST}").read_text().split():
            path = root / name[1:]
            if path.is_file() and not path.is_symlink():
                with path.open("a") as file:
                    file.write(str(at))
                changed += 1
        assert changed > 50
"""
_ROOTFS = """
    pytestmark = pytest.mark.image("debian:bench")

    @pytest.mark.parametrize("at", range({count}))
    def test_changes(rootfs, at):
        change(pathlib.Path(rootfs), at)
"""
_COPY = """
    @pytest.mark.parametrize("at", range({count}))
    def test_changes(tmp_path, at):
        root = tmp_path / "root"
        subprocess.run(["cp", "-a", {tree!r}, root], check=True)
        change(root, at)
        shutil.rmtree(root)
"""
_RUN = """
    LINE = '''
        for f in $(cat /{list}); do
            if [ -f $f ] && [ ! -L $f ]; then printf 1 >> $f; fi
        done
    '''

    @pytest.mark.parametrize("at", range({count}))
    def test_changes(at):
        subprocess.run([*{argv!r}, "run", "--rm", "debian:bench", "sh", "-c", LINE], check=True)
"""


class Sessions:
    """Sessions of pytest, one after the other."""

    def __init__(self, home: Path, namespace: int) -> None:
        self._home = home
        self._us = ours(home / "ours")
        self._podman = podman(home / "podman", namespace)
        use_fuse_overlayfs(home / "podman")
        self._tree = home / "debian"
        layers = run([_CHECKOUT / "scripts/debian-root"], timeout=900).strip().split(":")
        for layer in reversed(layers):
            run(["cp", "-a", f"{layer}/.", self._tree], timeout=300)
        archive = home / "debian.tar"
        run(["tar", "-C", self._tree, "--numeric-owner", "--exclude=./dev/*", "-cf", archive, "."])
        for side in (self._us, self._podman):
            side.timeout_s = 900
            assert side("import", archive, _IMAGE).code == 0
        archive.unlink()

    def lines(self, tests: int) -> Iterator[str]:
        """Measure; yield what to print."""
        scripts = {
            "rootfs": (tests, _ROOTFS, self._us),
            "cp -a of the tree": (_SLOW_TESTS, _COPY, self._us),
            "run --rm": (_SLOW_TESTS, _RUN, self._us),
            "podman run --rm": (_SLOW_TESTS, _RUN, self._podman),
        }
        yield "a session of pytest on Debian, a package's files changed: ms per test"
        for name, (count, script, side) in scripts.items():
            yield f"  {name:28} {self._session(count, script, side):9.1f}  ({count} tests)"

    def _session(self, count: int, script: str, side: Side) -> float:
        path = self._home / "test_session.py"
        values = {"count": count, "tree": str(self._tree), "argv": side.argv, "list": _LIST}
        path.write_text(textwrap.dedent(_CHANGE) + textwrap.dedent(script).format(**values))
        argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", path]
        environment = {**os.environ, **side.environment}
        began = time.perf_counter()
        run(argv, env=environment, cwd=self._home, timeout=3000)
        return (time.perf_counter() - began) * 1000 / count


def use_fuse_overlayfs(home: Path) -> None:
    """Let the podman below `home` mount its layers instead of copying them."""
    program = shutil.which("fuse-overlayfs")
    (home / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{home}/graph"\nrunroot = "{home}/run"\n'
        f'[storage.options.overlay]\nmount_program = "{program}"\n'
    )
