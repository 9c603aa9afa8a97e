"""The real command on a store with one small image, as root and as an ordinary user."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.engine import make_root_filesystem
from tests.system.mount_table import mounts_below
from tests.system.processes import CommandFailed, attempt, processes_naming, run, wait_until
from tests.system.unprivileged import as_user, device_for_everybody

if TYPE_CHECKING:
    from collections.abc import Iterator

_APPLETS = ("ps", "kill", "tty", "stty", "readlink", "dd", "trap", "id", "hostname", "env", "yes")
_APPLETS += (
    "seq",
    "head",
    "wc",
    "touch",
    "stat",
    "pwd",
    "printf",
    "test",
    "ls",
    "ln",
    "grep",
    "sleep",
    "cat",
    "rm",
    "true",
    "false",
    "df",
)


class Engine:
    """`overlayfs-py` on a store of its own, in which the image `small:1` is."""

    def __init__(self, directory: Path, *, is_user: bool) -> None:
        self.program = Path(sys.executable).parent / "overlayfs-py"
        self.directory = directory
        self.is_user = is_user
        self.environment = {
            "XDG_DATA_HOME": str(directory / "data"),
            "TMPDIR": str(directory / "tmp"),
            "HOME": str(directory),
        }

    @property
    def containers(self) -> Path:
        return self.directory / "data/overlayfs-py/containers"

    def argv(self, *words: object) -> list[str]:
        argv = [str(self.program), *map(str, words)]
        return [str(word) for word in as_user(argv)] if self.is_user else argv

    def attempt(self, *words: object, typed: str | None = None) -> subprocess.CompletedProcess[str]:
        if typed is None:
            return attempt(self.argv(*words), env=self.environment)
        return subprocess.run(
            self.argv(*words),
            env=self.environment,
            input=typed,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def __call__(self, *words: object) -> str:
        done = self.attempt(*words)
        if done.returncode:
            raise CommandFailed(done)
        return done.stdout

    def refusal(self, *words: object) -> tuple[int, str]:
        """The exit code, and the one line that says why."""
        done = self.attempt(*words)
        lines = done.stderr.splitlines()
        assert len(lines) == 1, done.stderr
        return done.returncode, lines[0].removeprefix("overlayfs-py: ")


@pytest.fixture(scope="session")
def small_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root filesystem of busybox."""
    return make_small_root(tmp_path_factory.mktemp("small") / "root")


def make_small_root(root: Path) -> Path:
    make_root_filesystem(root)
    for applet in _APPLETS:
        (root / "bin" / applet).unlink(missing_ok=True)
        (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/srv:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nweb:x:33:\ndisk:x:6:web\n")
    return root


@contextmanager
def make_engine(directory: Path, small_root: Path, *, is_user: bool) -> Iterator[Engine]:
    """An engine with all that it has below `directory`, which is removed."""
    directory.chmod(0o755)
    (directory / "tmp").mkdir()
    (directory / "data").mkdir()
    archive = directory / "small.tar"
    run(["tar", "-C", small_root, "-cf", archive, "."])
    if is_user:
        run(["chown", "--recursive", "nobody:", directory])
    engine = Engine(directory, is_user=is_user)
    with device_for_everybody():
        engine("import", "-c", 'CMD ["sh"]', archive, "small:1")
        yield engine
    shutil.rmtree(directory)


@pytest.fixture(scope="session", params=["root", "user"])
def _engine(request: pytest.FixtureRequest, small_root: Path) -> Iterator[Engine]:
    directory = Path(tempfile.mkdtemp(prefix="overlayfs-life-"))
    with make_engine(directory, small_root, is_user=request.param == "user") as engine:
        yield engine


@pytest.fixture
def engine(_engine: Engine) -> Iterator[Engine]:
    """The same for all tests; each ends without a container, process, mount or file left."""
    yield _engine
    # Not asked of `ps`: a test in five leaves a container, and each command takes its time.
    left = os.listdir(_engine.containers) if _engine.containers.exists() else []
    if left:
        _engine("rm", "-fv", *left)
    volumes = _engine.directory / "data/overlayfs-py/volumes"
    for volume in volumes.iterdir() if volumes.exists() else ():
        shutil.rmtree(volume)
    wait_until(
        lambda: not processes_naming(str(_engine.directory)), "the processes of all containers"
    )
    assert mounts_below(_engine.directory) == []
    assert (os.listdir(_engine.containers) if _engine.containers.exists() else []) == []
    staging = _engine.directory / "data/overlayfs-py/staging"
    assert os.listdir(staging) == []
    assert os.listdir(_engine.directory / "tmp") == []
