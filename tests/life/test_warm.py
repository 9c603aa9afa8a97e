"""Commands that the warm process runs do, show and leave what they would without it."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.cli import warm_process
from tests.life.users import AS_ROOT, AS_USER
from tests.system.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.life.conftest import Engine


class Both:
    """The same engine twice: as commands start, and with a warm process."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.runtime = engine.directory / "run"
        self.warm = {**engine.environment, "XDG_RUNTIME_DIR": str(self.runtime)}

    def popen(self, *words: object, warm: bool) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.engine.argv(*words),
            env=self.warm if warm else self.engine.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def run(self, *words: object, warm: bool) -> tuple[int, bytes, bytes]:
        process = self.popen(*words, warm=warm)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def same(self, *words: object) -> bytes:
        """Run a command both ways, of which the second must be the warm process's."""
        cold = self.run(*words, warm=False)
        before = self.commands
        assert self.run(*words, warm=True) == cold
        assert self.commands == before + 1
        return cold[1]

    @property
    def commands(self) -> object:
        if self.engine.is_user:  # whom alone it answers
            shown = self.run("warm", "status", warm=True)[1]
            return int(shown.partition(b"Commands: ")[2].partition(b",")[0])
        (socket,) = (self.runtime / "overlayfs-py-warm").glob("*-*")
        found = warm_process.status(str(socket))
        assert found is not None
        assert found["refused"] == {}
        return found["commands"]


@pytest.fixture(scope="module")
def _both(_engine: Engine) -> Iterator[Both]:
    both = Both(_engine)
    both.runtime.mkdir(mode=0o700)
    if _engine.is_user:
        os.chown(both.runtime, 65534, 65534)
    assert both.run("warm", "start", warm=True) == (0, b"", b"")
    yield both
    assert both.run("warm", "stop", warm=True)[0] == 0


@pytest.fixture
def both(_both: Both, engine: Engine) -> Both:
    """And nothing is left of either; its own process has no word of the directory."""
    assert engine is _both.engine
    return _both


@AS_ROOT
def test_what_is_shown(both: Both, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM small:1\nCOPY Dockerfile /\nRUN echo x > /y\n")
    both.run("build", "-q", tmp_path, warm=False)

    assert b"small" in both.same("image", "ls", "--format", "{{.Repository}} {{.ID}}")
    assert both.same("build", "-q", tmp_path).startswith(b"sha256:")
    both.same("image", "inspect", "small:1")
    script = "id; env; ls -l /etc; cat /proc/self/limits; echo err >&2; exit 3"
    script = f"grep -E 'Cap|Sig[BI]|Seccomp|NoNew|Umask' /proc/self/status; {script}"
    both.same("run", "--rm", "--hostname", "h", "small:1", "sh", "-c", script)
    both.same("run", "--rm", "small:1", "nosuch")
    both.same("exec", "nosuch", "true")
    both.same("chroot", "small:1", "--", "sh", "-c", "cat /etc/passwd; exit 4")


@AS_USER
def test_what_is_shown_to_an_ordinary_user(both: Both) -> None:
    both.same("run", "--rm", "small:1", "sh", "-c", "id; ls -l /etc; exit 3")


@AS_ROOT
def test_a_container_in_the_background_outlives_all_of_it(both: Both, engine: Engine) -> None:
    status, out, _ = both.run("run", "-d", "--name", "one", "small:1", "sleep", "100", warm=True)
    assert status == 0

    found = engine("ps", "--no-trunc", "-q")
    assert found == out.decode()
    assert both.same("exec", "one", "echo", "there") == b"there\n"
    assert engine("rm", "-f", "one") == "one\n"


@AS_ROOT
@pytest.mark.parametrize("warm", [False, True])
def test_a_killed_client_leaves_the_container(both: Both, engine: Engine, warm: bool) -> None:
    words = ("run", "--name", "one", "small:1", "sh", "-c", "echo there; sleep 100")
    with both.popen(*words, warm=warm) as process:
        assert process.stdout.readline() == b"there\n"
        process.kill()

    assert engine("ps", "--format", "{{.State}}") == "running\n"
    engine("rm", "-f", "one")


@AS_ROOT
@pytest.mark.parametrize("warm", [False, True])
def test_a_signal_is_the_containers(both: Both, warm: bool) -> None:
    script = "trap 'echo heard; exit 5' TERM; echo there; while :; do sleep 0.02; done"
    with both.popen("run", "--rm", "small:1", "sh", "-c", script, warm=warm) as process:
        assert process.stdout.readline() == b"there\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == b"heard\n"
        assert process.wait(timeout=30) == 5


@AS_ROOT
def test_a_mount_stays(both: Both, small_root: Path, tmp_path: Path) -> None:
    place = tmp_path / "mnt"
    place.mkdir()

    assert both.run("mount", "-o", f"lowerdir={small_root}", place, warm=True) == (0, b"", b"")
    try:
        assert sorted(os.listdir(place)) == sorted(os.listdir(small_root))
    finally:
        assert both.same("umount", place / "nosuch") == b""
        assert both.run("umount", place, warm=True) == (0, b"", b"")
    wait_until(lambda: not os.path.ismount(place), "it to be unmounted")
